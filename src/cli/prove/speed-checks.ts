// The speed part of a proof: models of noise in the published sizes, on one device, beside what the device can do at
// best. A figure that misses its aim is reported, and is no failure: what counts as fast depends on the card.

import { rm } from "node:fs/promises";
import { join } from "node:path";
import {
  DECODER_PRECISIONS,
  defaultVisionPrecision,
  type PackagePrecision,
} from "../../vlm/convert/package-graphs.ts";
import { type Device, deviceKind } from "../../vlm/runtime/device.ts";
import type { ShapeName } from "../bench/shape-names.ts";
import { configOf } from "../bench/shapes.ts";
import type { Checks } from "./check.ts";
import { writeRandomPackage } from "./random-package.ts";
import type { CardRooflines } from "./rooflines.ts";
import { FULL_WORK, LIGHT_WORK, measureSpeed, type Speed } from "./speed.ts";

export interface SpeedReport {
  readonly shape: ShapeName;
  readonly precision: PackagePrecision;
  readonly steps: Steps;
  readonly measured: Speed;
  /** Time of a decode step at the memory roofline over the measured one, for one chat; undefined without a roofline. */
  readonly decodeShare: number | undefined;
  /** Products of the long prompt over the matrix roofline. */
  readonly prefillShare: number | undefined;
  /** Tokens of the most chats over those of one; undefined when either was left out. */
  readonly batchGain: number | undefined;
}

interface SpeedWork {
  readonly checks: Checks;
  readonly device: Device;
  readonly directory: string;
  /** Of the models; undefined: what the device can be expected to bear. */
  readonly size: ShapeName | undefined;
  readonly rooflines: CardRooflines | undefined;
  /** What a question to the tiny chat model took, in milliseconds. */
  readonly questionMs: number;
  /** What the proof took until now. */
  readonly elapsedMs: number;
  readonly speed: SpeedReport[];
  readonly signal: AbortSignal;
}

/** How steps of answers are computed: operator by operator, those recorded, or kernels of our own where there are any. */
type Steps = "operators" | "recorded" | "kernels";

interface Case {
  readonly shape: ShapeName;
  readonly decoder: PackagePrecision["decoder"];
  readonly steps: Steps;
}

const CARD_CASES: readonly Case[] = [
  { shape: "2b", decoder: "q4f16", steps: "operators" },
  { shape: "2b", decoder: "q4f16", steps: "recorded" },
  { shape: "2b", decoder: "q4f16", steps: "kernels" },
  { shape: "2b", decoder: "fp16", steps: "operators" },
  { shape: "2b", decoder: "fp16", steps: "recorded" },
  { shape: "8b", decoder: "q4f16", steps: "operators" },
  { shape: "8b", decoder: "q4f16", steps: "kernels" },
  { shape: "8b", decoder: "fp16", steps: "operators" },
];

const STEP_NAMES: Readonly<Record<Steps, string>> = {
  operators: "",
  recorded: " with recorded steps",
  kernels: " with kernels of our own",
};

/** On a card it takes a hundredth of this: only a driver that computes on the CPU is so slow. */
const SOFTWARE_MS = 300;
/** A whole proof through one is to end within eight minutes, loading a model for its speed included. */
const SOFTWARE_PROOF_MS = 440_000;
/** But something is measured in any case, and no more than there is to measure. */
const SOFTWARE_BUDGET_MS = { least: 45_000, most: 150_000 };

export async function proveSpeed(work: SpeedWork): Promise<void> {
  const cases = casesOf(work);
  let last = "";
  for (const item of cases) {
    work.signal.throwIfAborted();
    const directory = join(work.directory, `${item.shape}-${item.decoder}`);
    if (directory !== last && last !== "") await rm(last, { recursive: true, force: true });
    await proveCase(work, item, directory, directory !== last);
    last = directory;
  }
}

function casesOf({ device, size, questionMs }: SpeedWork): readonly Case[] {
  const kind = deviceKind(device);
  if (kind === "cuda") {
    if (size === undefined) return CARD_CASES;
    return CARD_CASES.filter(({ shape }) => shape === "2b").map((one) => ({ ...one, shape: size }));
  }
  // Through a software driver a 2B would take hours, and say nothing about any card.
  const plain = isSoftware(device, questionMs) ? "nano" : "2b";
  const decoder = DECODER_PRECISIONS[kind][0]!;
  return [{ shape: size ?? plain, decoder, steps: "operators" }];
}

function isSoftware(device: Device, questionMs: number): boolean {
  return deviceKind(device) === "webgpu" && questionMs > SOFTWARE_MS;
}

/** For the measurements, after so much of a proof. */
export function softwareBudgetMs(elapsedMs: number): number {
  const { least, most } = SOFTWARE_BUDGET_MS;
  return Math.min(Math.max(SOFTWARE_PROOF_MS - elapsedMs, least), most);
}

async function proveCase(
  { checks, device, rooflines, questionMs, elapsedMs, speed }: SpeedWork,
  { shape, decoder, steps }: Case,
  directory: string,
  fresh: boolean,
): Promise<void> {
  const kind = deviceKind(device);
  const precision = { decoder, vision: defaultVisionPrecision(decoder, kind) };
  const name = `speed of a ${shape} in ${decoder}${STEP_NAMES[steps]}`;
  await checks.run(name, async () => {
    if (fresh) await writeRandomPackage(directory, shape, precision, kind);
    const card = kind === "cuda";
    const light = isSoftware(device, questionMs);
    const measured = await measureSpeed({
      directory,
      device,
      captureGraphs: steps === "recorded",
      stepKernels: steps === "kernels",
      batches: card ? [1, 8, 32] : [1, 4],
      steps: card ? 64 : light ? 4 : 8,
      rounds: card ? 5 : 1,
      work: light ? LIGHT_WORK : FULL_WORK,
      ...(light ? { budgetMs: softwareBudgetMs(elapsedMs) } : {}),
    });
    const report = compare(shape, decoder, measured, rooflines);
    speed.push({ shape, precision, steps, measured, ...report });
    // Recorded steps must say what the others say. Kernels of our own round otherwise, and loading them compares logits.
    const others = speed.find(
      (other) =>
        other.shape === shape && other.precision.decoder === decoder && other.steps === "operators",
    );
    const same =
      steps !== "recorded" || String(others?.measured.tokens) === String(measured.tokens);
    return { ok: same, value: describe(measured, report) };
  });
}

function compare(
  shape: ShapeName,
  decoder: PackagePrecision["decoder"],
  measured: Speed,
  rooflines: CardRooflines | undefined,
) {
  const { bytes, operations } = work(shape, decoder);
  const { decode, prefillMs } = measured;
  const one = decode.find(({ chats }) => chats === 1);
  const many = decode.find(({ chats }) => chats > 1 && chats === decode.at(-1)!.chats);
  return {
    decodeShare: rooflines && one && bytes / rooflines.memoryGBs / 1e6 / one.stepMs,
    prefillShare:
      rooflines &&
      prefillMs &&
      (operations * measured.promptTokens) / (prefillMs / 1000) / (rooflines.matrixTFLOPs * 1e12),
    batchGain: one && many && many.tokensPerSecond / one.tokensPerSecond,
  };
}

/** Bytes of weights that a decode step reads, and multiplications and additions of a token of a prompt. */
function work(shape: ShapeName, decoder: PackagePrecision["decoder"]) {
  const { text_config: text } = configOf(shape);
  const { hidden_size: h, intermediate_size: f, num_hidden_layers: layers } = text;
  const [heads, kvHeads] = [text.num_attention_heads, text.num_key_value_heads];
  const head = text.head_dim;
  const layer = h * head * (heads + 2 * kvHeads) + heads * head * h + 3 * h * f;
  const vocabulary = text.vocab_size * h;
  // A scale of two bytes for 32 weights of four bits, and of eight.
  const [four, eight] = [0.5 + 2 / 32, 1 + 2 / 32];
  const ofLayers = decoder.startsWith("q4") ? four : decoder === "w8a16" ? eight : 2;
  const ofHead = ofLayers === 2 ? 2 : eight;
  const bytes = layers * layer * ofLayers + vocabulary * ofHead;
  return { bytes, operations: 2 * layers * layer };
}

/** A line for people: what was left out is named. */
export function describe(
  measured: Speed,
  report: Pick<SpeedReport, "decodeShare" | "prefillShare" | "batchGain">,
): string {
  const share = (value: number | undefined, of: string) =>
    value === undefined ? "" : ` (${Math.round(100 * value)} % of ${of})`;
  const decode = measured.decode.map(
    ({ chats, stepMs, tokensPerSecond, bytesDown, bytesUp }) =>
      `${chats} chats ${stepMs.toFixed(2)} ms = ${tokensPerSecond.toFixed(0)} tok/s, ${bytesDown} B to the card, ${bytesUp} B back`,
  );
  const { promptTokens, prefillMs, pictureTokens, visionMs, firstTokenMs } = measured;
  const { leftOut, firstRuns } = measured;
  const pictures = [
    visionMs && `picture of ${pictureTokens} tokens ${visionMs.toFixed(1)} ms`,
    firstTokenMs && `first token ${firstTokenMs.toFixed(1)} ms`,
  ];
  const parts = [
    decode.length > 0 && `decode ${decode.join("; ")}${share(report.decodeShare, "memory")}`,
    report.batchGain && `${report.batchGain.toFixed(1)} times the tokens of one`,
    prefillMs &&
      `prefill ${promptTokens} ${prefillMs.toFixed(1)} ms${share(report.prefillShare, "matrix peak")}`,
    pictures.filter(Boolean).join(", "),
    `event loop ${measured.gapMs.toFixed(1)} ms`,
    `load ${(measured.loadMs / 1000).toFixed(1)} s, ${measured.memoryMiB ?? "?"} MiB`,
    firstRuns.length > 0 && `a first run only, shaders and all: ${firstRuns.join(", ")}`,
    leftOut.length > 0 && `left out, for want of time: ${leftOut.join(", ")}`,
  ];
  return parts.filter(Boolean).join("; ");
}
