// Steps of up to so many chats by kernels of our own: which kernels with what arguments, recorded once for the memory that
// they read and write, and replayed. In: a token of each chat. Out: candidates.

import { CANDIDATES } from "../convert/candidate-search.ts";
import type { CudaDevice } from "../runtime/cuda-device.ts";
import type { CudaKernels, CudaRecording, Launch } from "../runtime/cuda-kernels.ts";
import { type DeviceMemory, Staging } from "../runtime/device-memory.ts";
import type { NamedValues } from "../runtime/session.ts";
import type { Value } from "../runtime/value.ts";
import type { DeviceSlots } from "./device-slots.ts";
import {
  MIX_WARPS,
  type ProductName,
  SEARCH_PARTS,
  SEARCH_THREADS,
  type StepPlan,
  WARP,
} from "./step-plan.ts";
import type { StepScratch } from "./step-scratch.ts";

const PREFIX = "model.language_model.";

/** One chat of a step. */
export interface StepRow {
  readonly id: number;
  /** Row of the rotary tables. */
  readonly position: number;
  /** Of the slots. */
  readonly slot: number;
  /** Tokens before this one. */
  readonly length: number;
}

/** Where a step reads and writes. */
export interface StepPlace {
  readonly slots: DeviceSlots;
  readonly cos: Value;
  readonly sin: Value;
}

/** Best of each chat, (chats, candidates), and all logits, (chats, vocabulary). They last until the next step. */
export interface StepScores {
  readonly topScores: Float32Array;
  readonly topIds: BigInt64Array;
  readonly logits: Value;
}

export interface FormTools {
  readonly memory: DeviceMemory;
  readonly card: CudaDevice;
  readonly kernels: CudaKernels;
  readonly scratch: StepScratch;
  readonly weights: NamedValues;
}

/** Steps of up to `rows` chats. */
export class StepForm {
  readonly rows: number;
  readonly #plan: StepPlan;
  readonly #tools: FormTools;
  readonly #up: Staging;
  readonly #down: Staging;
  readonly #ids;
  readonly #positions;
  readonly #lengths;
  readonly #slots;
  readonly #topScores;
  readonly #topIds;
  readonly #recordings = new Map<DeviceSlots, { readonly cos: Value; recording: CudaRecording }>();

  private constructor(plan: StepPlan, tools: FormTools, up: Staging, down: Staging) {
    const { rows } = plan;
    this.rows = rows;
    this.#plan = plan;
    this.#tools = tools;
    this.#up = up;
    this.#down = down;
    this.#ids = up.take("i64", [rows]);
    this.#positions = up.take("i64", [rows]);
    this.#lengths = up.take("i32", [rows]);
    this.#slots = up.take("i32", [rows]);
    this.#topScores = down.take("f32", [rows, CANDIDATES]);
    this.#topIds = down.take("i64", [rows, CANDIDATES]);
  }

  static async create(plan: StepPlan, tools: FormTools): Promise<StepForm> {
    const { rows } = plan;
    const upBytes = 2 * Staging.bytes("i64", [rows]) + 2 * Staging.bytes("i32", [rows]);
    const best = [rows, CANDIDATES];
    const downBytes = Staging.bytes("f32", best) + Staging.bytes("i64", best);
    const up = await tools.memory.stage(upBytes, "inputs of a step");
    try {
      return new StepForm(plan, tools, up, await tools.memory.stage(downBytes, "candidates"));
    } catch (error) {
      up.dispose();
      throw error;
    }
  }

  async step(rows: readonly StepRow[], place: StepPlace): Promise<StepScores> {
    const { card, scratch } = this.#tools;
    const recording = await this.#recordingFor(place);
    this.#ids.array.fill(0n);
    this.#positions.array.fill(0n);
    this.#lengths.array.fill(0);
    this.#slots.array.fill(-1);
    for (const [index, { id, position, slot, length }] of rows.entries()) {
      this.#ids.array[index] = BigInt(id);
      this.#positions.array[index] = BigInt(position);
      this.#slots.array[index] = slot;
      this.#lengths.array[index] = length;
    }
    await card.call([...this.#up.upload(), recording.replay(), ...this.#down.download()]);
    const { array: topScores } = this.#topScores;
    return { topScores, topIds: this.#topIds.array, logits: scratch.logits };
  }

  async dispose(): Promise<void> {
    for (const { recording } of this.#recordings.values()) await recording.dispose();
    await this.#tools.kernels.dispose();
    this.#up.dispose();
    this.#down.dispose();
  }

  /** A recording belongs to the very memory that it was made with. */
  async #recordingFor(place: StepPlace): Promise<CudaRecording> {
    const { slots, cos } = place;
    const known = this.#recordings.get(slots);
    if (known?.cos === cos) return known.recording;
    await known?.recording.dispose();
    const recording = await this.#tools.kernels.record(this.#launches(place));
    this.#recordings.set(slots, { cos, recording });
    return recording;
  }

  /** All launches of a step, in order. */
  #launches(place: StepPlace): Launch[] {
    const { rows, layers } = this.#plan;
    const { hidden, found, logits } = this.#tools.scratch;
    const threads = SEARCH_THREADS;
    const table = this.#of(`${PREFIX}embed_tokens.weight`);
    const norm = this.#of(`${PREFIX}norm.weight`);
    const best = [found, this.#topScores.value, this.#topIds.value];
    return [
      { kernel: "embed", grid: [rows], threads: 256, args: [this.#ids.value, table, hidden] },
      ...Array.from({ length: layers }, (_, index) => this.#layer(index, place)).flat(),
      this.#product("head", "head", [hidden, norm, ...this.#both("logits_f16"), logits]),
      { kernel: "search", grid: [SEARCH_PARTS, rows], threads, args: [logits, found] },
      { kernel: "choose", grid: [rows], threads, args: best },
    ];
  }

  #layer(index: number, { slots, cos, sin }: StepPlace): Launch[] {
    const { hidden, qkv, mixed, inner, parts, arrived } = this.#tools.scratch;
    const layer = `layers.${index}`;
    const norm = (name: string) => this.#of(`${PREFIX}${layer}.${name}.weight`);
    const both = (name: string) => this.#both(`${layer}.${name}`);
    const mix: Launch = {
      kernel: "mix",
      grid: [this.#plan.kvHeads, this.#plan.parts, this.rows],
      threads: MIX_WARPS * WARP,
      args: [
        ...[qkv, norm("self_attn.q_norm"), norm("self_attn.k_norm"), cos, sin],
        ...[this.#positions.value, this.#lengths.value, this.#slots.value],
        ...[slots.slab(`${index}.key`), slots.slab(`${index}.value`), parts, arrived, mixed],
        slots.capacity + 1,
      ],
    };
    const projected = [hidden, norm("input_layernorm"), ...both("self_attn.packed"), qkv];
    const gated = [hidden, norm("post_attention_layernorm"), ...both("mlp.packed"), inner];
    return [
      this.#product("project", "project", projected),
      mix,
      this.#product("add_mixed", "mixed", [mixed, ...both("self_attn.out"), hidden]),
      this.#product("gate", "gate", gated),
      this.#product("add_inner", "inner", [inner, ...both("mlp.down"), hidden]),
    ];
  }

  #product(kernel: string, name: ProductName, args: Launch["args"]): Launch {
    const { blocks, threads, sharedBytes } = this.#plan.products[name];
    return { kernel, grid: [blocks], threads, sharedBytes, args };
  }

  #of(name: string): Value {
    return this.#tools.weights[name]!;
  }

  #both(name: string): readonly [Value, Value] {
    return [this.#of(`${name}.weight`), this.#of(`${name}.scales`)];
  }
}
