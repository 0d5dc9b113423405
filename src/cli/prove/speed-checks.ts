// The speed part of a proof: models of noise in the published sizes, on one device, beside what the device can do at
// best. A figure that misses its aim is reported, and is no failure: what counts as fast depends on the card.

import { rm } from "node:fs/promises";
import { join } from "node:path";
import { DeviceError } from "../../vlm/errors.ts";
import { type Device, type DeviceKind, deviceKind } from "../../vlm/runtime/device.ts";
import type { ShapeName } from "../bench/shape-names.ts";
import { configOf } from "../bench/shapes.ts";
import { print } from "../terminal.ts";
import type { Checks, Finding } from "./check.ts";
import { writeRandomPackage } from "./random-package.ts";
import type { Rooflines } from "./rooflines.ts";
import { isSoftware } from "./software-driver.ts";
import { FULL_WORK, LIGHT_WORK, measureSpeed, type Speed, type SpeedOptions } from "./speed.ts";
import { type Aim, aimsOf, describeAim } from "./speed-aims.ts";
import {
  batchesLeftOut,
  batchesThatFit,
  packageBytes,
  roomOf,
  type SpeedCase,
  type Steps,
  speedCases,
} from "./speed-cases.ts";
import { chatsInWords, describeSpeed, type SpeedShares } from "./speed-line.ts";

export interface SpeedReport extends SpeedCase, SpeedShares {
  readonly measured: Speed;
  /** Of graphics cards; none elsewhere. */
  readonly aims: readonly Aim[];
}

export interface SpeedWork {
  readonly checks: Checks;
  readonly device: Device;
  readonly directory: string;
  /** Of the models; undefined: what the device can be expected to bear. */
  readonly size: ShapeName | undefined;
  /** Name of the card; undefined where there is none. */
  readonly card: string | undefined;
  readonly rooflines: Rooflines | undefined;
  /** What a question to the tiny chat model took, in milliseconds. */
  readonly questionMs: number;
  /** What the proof took until now. */
  readonly elapsedMs: number;
  readonly speed: SpeedReport[];
  readonly signal: AbortSignal;
  /** Where there is room, for tests. @default what is free here */
  readonly findRoom?: typeof roomOf;
}

const STEP_NAMES: Readonly<Record<Steps, string>> = {
  operators: "",
  recorded: " with recorded steps",
  kernels: " with kernels of our own",
};

/** A whole proof through a software driver is to end within six minutes, loading a model for its speed included. */
const SOFTWARE_PROOF_MS = 330_000;
/** But something is measured in any case, and no more than there is to measure. */
const SOFTWARE_BUDGET_MS = { least: 45_000, most: 150_000 };
/** For the figures of one model on a CPU: those of an 8B on two cores would take half an hour. */
const MODEL_BUDGET_MS = 240_000;

export async function proveSpeed(work: SpeedWork): Promise<void> {
  const { device, size, questionMs, signal } = work;
  const cases = speedCases(device, size, isSoftware(device, questionMs));
  let written: string | undefined;
  let measured = 0;
  const next = async (item: SpeedCase) => {
    signal.throwIfAborted();
    const directory = join(work.directory, `${item.shape}-${item.precision.decoder}`);
    if (written !== undefined && written !== directory) await rm(written, { recursive: true });
    const isWritten = written === directory;
    written = undefined;
    if (!(await proveCase(work, item, directory, isWritten))) return;
    [written, measured] = [directory, measured + 1];
  };
  for (const item of cases) await next(item);
  // Where there is no room for any of them, a smaller one is better than none.
  if (measured === 0 && size === undefined) await next({ ...cases[0]!, shape: "mini" });
  if (measured > 0 || size !== undefined) return;
  const value = "放不下任何模型 · there is no room for any model";
  work.checks.add({ name: "its speed can be measured", ok: false, value });
}

/** For the measurements, after so much of a proof. */
export function softwareBudgetMs(elapsedMs: number): number {
  const { least, most } = SOFTWARE_BUDGET_MS;
  return Math.min(Math.max(SOFTWARE_PROOF_MS - elapsedMs, least), most);
}

/** Resolves to whether there was room for it. */
async function proveCase(
  work: SpeedWork,
  item: SpeedCase,
  directory: string,
  isWritten: boolean,
): Promise<boolean> {
  const { checks, device, size, signal, findRoom = roomOf } = work;
  const kind = deviceKind(device);
  const { shape, precision, steps } = item;
  const name = `speed of a ${shape} in ${precision.decoder}${STEP_NAMES[steps]}`;
  const options = { ...optionsFor(work, steps), directory };
  const room = await findRoom(device, work.directory);
  if (isWritten) room.disk = Number.POSITIVE_INFINITY;
  const batches = batchesThatFit(item, kind, room, options.capacity);
  const measuring = async () => {
    if (typeof batches === "string") throw new DeviceError("device-memory", batches);
    if (!isWritten) await writeRandomPackage(directory, shape, precision, kind, signal);
    return measureWhatFits({ ...options, batches });
  };
  const measured = await measuring().catch((error: unknown) => error);
  signal.throwIfAborted();
  // Whoever named a size is told that it failed; of the others there are as many as there is room for.
  if (isFull(measured) && size === undefined) {
    checks.leaveOut(name, measured.message);
    return isWritten;
  }
  let aims: readonly Aim[] = [];
  await checks.run(name, async () => {
    if (!isSpeed(measured)) throw measured;
    const report = reportOf(work, item, measured);
    work.speed.push(report);
    aims = report.aims;
    return judge(report, work.speed);
  });
  for (const aim of aims) print(`  ${describeAim(aim)}`);
  return true;
}

function isFull(error: unknown): error is DeviceError {
  return error instanceof DeviceError && error.code === "device-memory";
}

function isSpeed(measured: unknown): measured is Speed {
  return typeof measured === "object" && measured !== null && "decode" in measured;
}

function optionsFor({ device, questionMs, elapsedMs, signal }: SpeedWork, steps: Steps) {
  const kind = deviceKind(device);
  const light = isSoftware(device, questionMs);
  const card = kind === "cuda";
  return {
    device,
    captureGraphs: steps === "recorded",
    stepKernels: steps === "kernels",
    steps: card ? 64 : light ? 4 : 8,
    rounds: card ? 5 : 1,
    work: light ? LIGHT_WORK : FULL_WORK,
    capacity: card ? 4096 : FULL_WORK.promptTokens + 256,
    budgetMs: light ? softwareBudgetMs(elapsedMs) : card ? undefined : MODEL_BUDGET_MS,
    compiles: kind !== "cpu",
    signal,
  };
}

/** Devices that do not tell their memory are asked for less until they have it. */
async function measureWhatFits(options: SpeedOptions): Promise<Speed> {
  const { batches } = options;
  try {
    const noRoom = batchesLeftOut(batches).map((chats) => `decode of ${chatsInWords(chats)}`);
    return { ...(await measureSpeed(options)), noRoom };
  } catch (error) {
    if (!isFull(error) || batches.length === 1) throw error;
    return measureWhatFits({ ...options, batches: batches.slice(0, -1) });
  }
}

/** What was measured beside what could be. */
function reportOf(
  { device, card, rooflines }: SpeedWork,
  item: SpeedCase,
  measured: Speed,
): SpeedReport {
  const shares = compare(item, deviceKind(device), measured, rooflines);
  const { shape, steps, precision } = item;
  const figures = { shape, decoder: precision.decoder, steps, measured, ...shares };
  const aims = card === undefined ? [] : aimsOf({ ...figures, card });
  return { ...item, measured, ...shares, aims };
}

/** A figure that is missed is none that fails; what was not measured at all is. */
export function judge(report: SpeedReport, all: readonly SpeedReport[]): Finding {
  const { measured, shape, precision, steps } = report;
  const value = describeSpeed(measured, report);
  if (measured.visionMs === undefined && measured.decode.length === 0) return { ok: false, value };
  // Recorded steps must say what the others say. Kernels of our own round otherwise, and loading them compares logits.
  const others = all.find(
    (other) =>
      other.shape === shape &&
      other.precision.decoder === precision.decoder &&
      other.steps === "operators",
  );
  const same = steps !== "recorded" || String(others?.measured.tokens) === String(measured.tokens);
  return same
    ? { ok: true, value }
    : { ok: false, value: `${value}; recorded steps say otherwise` };
}

function compare(
  item: SpeedCase,
  kind: DeviceKind,
  measured: Speed,
  rooflines: Rooflines | undefined,
): SpeedShares {
  const { bytes, operations } = work(item, kind);
  const { decode, prefillMs } = measured;
  const one = decode.find(({ chats }) => chats === 1);
  const many = decode.find(({ chats }) => chats > 1 && chats === decode.at(-1)!.chats);
  const matrix = rooflines?.matrixTFLOPs;
  return {
    decodeShare: rooflines && one && bytes / rooflines.memoryGBs / 1e6 / one.stepMs,
    prefillShare:
      matrix && prefillMs
        ? (operations * measured.promptTokens) / (prefillMs / 1000) / (matrix * 1e12)
        : undefined,
    batchGain: one && many && many.tokensPerSecond / one.tokensPerSecond,
  };
}

/** Bytes of weights that a decode step reads, and multiplications and additions of a token of a prompt. */
function work(item: SpeedCase, kind: DeviceKind) {
  const { text_config: text } = configOf(item.shape);
  const { decoder } = item.precision;
  const { hidden_size: h, intermediate_size: f, num_hidden_layers: layers } = text;
  const [heads, kvHeads] = [text.num_attention_heads, text.num_key_value_heads];
  const head = text.head_dim;
  const layer = h * head * (heads + 2 * kvHeads) + heads * head * h + 3 * h * f;
  const operations = 2 * layers * layer;
  // Elsewhere the table of words is no part of the graph, and all of it is read.
  if (kind !== "cuda") return { bytes: packageBytes(item, kind).decoder, operations };
  const vocabulary = text.vocab_size * h;
  // A scale of two bytes for 32 weights of four bits, and of eight.
  const [four, eight] = [0.5 + 2 / 32, 1 + 2 / 32];
  const ofLayers = decoder.startsWith("q4") ? four : decoder === "w8a16" ? eight : 2;
  const ofHead = ofLayers === 2 ? 2 : eight;
  return { bytes: layers * layer * ofLayers + vocabulary * ofHead, operations };
}
