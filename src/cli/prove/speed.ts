// How fast a model of a published size is on a device: eyes, prompts, answers of one chat and of many, the first token
// of a picture. In: a package of noise. Out: figures; what they are to be compared with is not known here.

import type { DecoderInput, KvSlot } from "../../vlm/engine/decoder-backend.ts";
import { sliceInput } from "../../vlm/engine/decoder-input.ts";
import type { Backend } from "../../vlm/engine/load-backend.ts";
import { loadBackend } from "../../vlm/engine/load-backend.ts";
import { openPackage } from "../../vlm/engine/onnx-package.ts";
import { CudaDevice } from "../../vlm/runtime/cuda-device.ts";
import { type Device, openDevice } from "../../vlm/runtime/device.ts";
import { mropePositions } from "../../vlm/text/position-ids.ts";
import { watchEventLoop } from "../bench/event-loop-gaps.ts";
import { TimeBudget } from "./time-budget.ts";

export interface SpeedOptions {
  readonly directory: string;
  readonly device: Device;
  readonly captureGraphs: boolean;
  readonly stepKernels: boolean;
  /** Chats that answer at once. */
  readonly batches: readonly number[];
  /** Steps of each, and rounds of everything else. */
  readonly steps: number;
  readonly rounds: number;
  readonly work: SpeedWork;
  /** What does not fit into so much time, after loading, is left out, and said to be. @default infinite */
  readonly budgetMs?: number;
}

/** How much is read. */
export interface SpeedWork {
  /** A picture, in patches; 4 of them are a token. */
  readonly gridHeight: number;
  readonly gridWidth: number;
  /** Of the long prompt, in tokens. */
  readonly promptTokens: number;
  /** Of each chat that answers, before its first step. */
  readonly contextTokens: number;
  /** Steps before those that are measured. */
  readonly warmSteps: number;
}

/** A picture of 512 tokens, a prompt of 2048. */
export const FULL_WORK: SpeedWork = {
  gridHeight: 32,
  gridWidth: 64,
  promptTokens: 2048,
  contextTokens: 128,
  warmSteps: 8,
};
/** For drivers that compute a thousand times more slowly than a card. */
export const LIGHT_WORK: SpeedWork = {
  gridHeight: 8,
  gridWidth: 8,
  promptTokens: 62,
  contextTokens: 16,
  warmSteps: 1,
};

/** Figures; those that were left out are undefined, or missing from the list. */
export interface Speed {
  readonly pictureTokens: number;
  readonly promptTokens: number;
  /** The picture. */
  readonly visionMs: number | undefined;
  /** The long prompt, in one run where the device can. */
  readonly prefillMs: number | undefined;
  /** The picture and a question of 20 tokens, to the candidates of the first token. */
  readonly firstTokenMs: number | undefined;
  readonly decode: readonly DecodeSpeed[];
  /** Longest time for which the event loop stood still while chats answered. */
  readonly gapMs: number;
  /** Tokens of the first steps, to compare runs of the same weights. */
  readonly tokens: readonly number[];
  readonly loadMs: number;
  readonly memoryMiB: number | undefined;
  /** For which there was no time, by name. */
  readonly leftOut: readonly string[];
  /** Figures of a first run alone, compilation of shaders included: there was no time for another. */
  readonly firstRuns: readonly string[];
}

export interface DecodeSpeed {
  readonly chats: number;
  readonly stepMs: number;
  readonly tokensPerSecond: number;
  /** Bytes of a step over the bus, to the card and from it. */
  readonly bytesDown: number;
  readonly bytesUp: number;
}

const PATCH = 1536;
const QUESTION_TOKENS = 20;
const CAPACITY = 4096;

export async function measureSpeed(options: SpeedOptions): Promise<Speed> {
  const disposals: (() => Promise<void> | void)[] = [];
  try {
    const started = performance.now();
    const backend = await loadBackend(await openPackage(options.directory), {
      session: { device: options.device },
      contextTokens: CAPACITY,
      maxConcurrent: Math.max(...options.batches),
      deviceMemoryBytes: undefined,
      captureGraphs: options.captureGraphs,
      stepKernels: options.stepKernels,
      // A proof of something else than what was asked for would be none.
      onNote: (sentence) => {
        throw new Error(sentence);
      },
      onPart: () => {},
      onMade: (dispose) => disposals.push(dispose),
    });
    const loadMs = performance.now() - started;
    const open = await openDevice(options.device);
    const card = open instanceof CudaDevice ? open : undefined;
    return await measure(backend, card, options, loadMs);
  } finally {
    for (const dispose of disposals.toReversed()) await dispose();
  }
}

async function measure(
  backend: Backend,
  card: CudaDevice | undefined,
  { batches, steps, rounds, work, budgetMs }: SpeedOptions,
  loadMs: number,
): Promise<Speed> {
  const { visionEncoder } = backend;
  const { gridHeight, gridWidth, promptTokens } = work;
  const budget = new TimeBudget(budgetMs);
  const pictureTokens = (gridHeight * gridWidth) / 4;
  const pixelValues = Float32Array.from({ length: gridHeight * gridWidth * PATCH }, (_, i) =>
    Math.sin(i * 12.9898),
  );
  const picture = { gridHeight, gridWidth, pixelValues };
  const median = (name: string, expectedMs: number, once: () => Promise<unknown>) =>
    budget.fit(name, expectedMs, () => medianMs(name, rounds, budget, once));
  const visionMs = await median("picture", 0, () => visionEncoder.encode(picture));
  const prefillMs = await median("prefill", 0, () => readText(backend, promptTokens));
  const readMs = (prefillMs ?? 0) / runsOf(backend, promptTokens);
  const questionTokens = pictureTokens + QUESTION_TOKENS + 2;
  const firstTokenExpectedMs = (visionMs ?? 0) + readMs * runsOf(backend, questionTokens);
  const firstTokenMs = await median("first token", firstTokenExpectedMs, async () => {
    const features = await visionEncoder.encode(picture);
    const images = [{ start: 1, features }];
    const spans = [{ start: 1, rows: gridHeight / 2, columns: gridWidth / 2 }];
    const ids = someIds(questionTokens);
    const { positions } = mropePositions(ids.length, spans);
    const slot = backend.slots.open();
    await read(backend, { ids, positions, images }, slot);
    slot.dispose();
  });
  const tokens: number[] = [];
  const { result: decode, gaps } = await watchEventLoop(async () => {
    const found: DecodeSpeed[] = [];
    for (const chats of batches) {
      const before = { ...card?.copies.traffic };
      const expectedMs = chats * readMs * runsOf(backend, work.contextTokens) + readMs;
      const answered = await budget.fit(`decode of ${chats} chats`, expectedMs, () =>
        answer(backend, chats, steps, work, budget),
      );
      if (!answered) continue;
      const { stepMs, ids } = answered;
      const perStep = (way: "toDevice" | "fromDevice") =>
        Math.round(((card?.copies.traffic[way] ?? 0) - (before[way] ?? 0)) / ids.length);
      if (chats === batches[0]) tokens.push(...ids);
      const tokensPerSecond = (1000 * chats) / stepMs;
      const bytes = { bytesDown: perStep("toDevice"), bytesUp: perStep("fromDevice") };
      found.push({ chats, stepMs, tokensPerSecond, ...bytes });
    }
    return found;
  });
  const memory = card ? await card.memory() : undefined;
  const memoryMiB = memory && Math.round((memory.total - memory.free) / 2 ** 20);
  const { leftOut, firstRuns } = budget;
  return {
    ...{ pictureTokens, promptTokens, visionMs, prefillMs, firstTokenMs, decode },
    ...{ gapMs: gaps.longestMs, tokens, loadMs, memoryMiB, leftOut, firstRuns },
  };
}

/** In how many runs so many tokens are read. */
function runsOf({ mostTokens }: Backend, tokens: number): number {
  return Math.max(1, Math.ceil(tokens / mostTokens));
}

async function readText(backend: Backend, tokens: number): Promise<void> {
  const slot = backend.slots.open();
  const { positions } = mropePositions(tokens, []);
  await read(backend, { ids: someIds(tokens), positions }, slot);
  slot.dispose();
}

/** A prompt in one run, or in as few as the device computes rightly. */
async function read(
  { decoder, mostTokens }: Pick<Backend, "decoder" | "mostTokens">,
  input: DecoderInput,
  slot: KvSlot,
) {
  const { length } = input.ids;
  for (let start = 0; start < length; start += mostTokens) {
    const part = sliceInput(input, start, Math.min(start + mostTokens, length));
    await decoder.append(part, slot);
  }
}

/** Greedy answers of several chats at once. The median of the steps, and what the first chat said. */
async function answer(
  { decoder, slots, mostTokens }: Backend,
  chats: number,
  steps: number,
  { contextTokens: context, warmSteps }: SpeedWork,
  budget: TimeBudget,
) {
  const open = Array.from({ length: chats }, () => slots.open());
  const rows: { slot: (typeof open)[number]; id: number; position: number }[] = [];
  for (const [index, slot] of open.entries()) {
    const ids = someIds(context, index);
    await read(
      { decoder, mostTokens },
      { ids, positions: mropePositions(context, []).positions },
      slot,
    );
    rows.push({ slot, id: 1000 + index, position: context });
  }
  const ids: number[] = [];
  const times: number[] = [];
  for (let step = 0; step < steps + warmSteps; step++) {
    const start = performance.now();
    const scores = await decoder.decode(rows);
    for (const [index, row] of rows.entries()) {
      const found = scores[index]!;
      row.id = found instanceof Float32Array ? likeliest(found) : found.ids[0]!;
      row.position++;
    }
    if (step >= warmSteps) times.push(performance.now() - start);
    ids.push(rows[0]!.id);
    if (times.length > 0 && budget.spent) break;
  }
  for (const slot of open) slot.dispose();
  return { stepMs: median(times), ids };
}

function someIds(count: number, seed = 0): Int32Array {
  return Int32Array.from(
    { length: count },
    (_, i) => 1000 + ((i * 7919 + seed * 104_729) % 100_000),
  );
}

function likeliest(scores: Float32Array): number {
  let best = 0;
  for (let id = 1; id < scores.length; id++) if (scores[id]! > scores[best]!) best = id;
  return best;
}

/** The first run is for compilers and caches, and counts only where there is no time for another. */
async function medianMs(
  name: string,
  rounds: number,
  budget: TimeBudget,
  work: () => Promise<unknown>,
): Promise<number> {
  const timed = async () => {
    const start = performance.now();
    await work();
    return performance.now() - start;
  };
  const first = await timed();
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    if (!budget.has(times[0] ?? 0)) break;
    times.push(await timed());
  }
  if (times.length === 0) budget.firstRuns.push(name);
  return median(times.length > 0 ? times : [first]);
}

function median(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)]!;
}
