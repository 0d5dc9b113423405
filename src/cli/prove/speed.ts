// How fast a model of a published size is on a device: eyes, prompts, answers of one chat and of many, the first token
// of a picture. In: a package of noise. Out: figures; what they are to be compared with is not known here.

import type { DecoderInput, KvSlot } from "../../vlm/engine/decoder-backend.ts";
import { sliceInput } from "../../vlm/engine/decoder-input.ts";
import type { Backend } from "../../vlm/engine/load-backend.ts";
import { loadBackend } from "../../vlm/engine/load-backend.ts";
import { openPackage } from "../../vlm/engine/onnx-package.ts";
import { type Device, type OpenDevice, openDevice } from "../../vlm/runtime/device.ts";
import { mropePositions } from "../../vlm/text/position-ids.ts";
import { watchEventLoop } from "../bench/event-loop-gaps.ts";
import { memoryInUse, traffic, type UsedMemory } from "./device-figures.ts";
import { chatsInWords } from "./speed-line.ts";
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
  /** Of each chat, in tokens. */
  readonly capacity: number;
  /** What does not fit into so much time, after loading, is left out, and said to be. @default infinite */
  readonly budgetMs?: number | undefined;
  /** Does a first run take longer than those after it? Then it does not tell what those will take. @default true */
  readonly compiles?: boolean;
  /** Aborting ends what is being measured. */
  readonly signal?: AbortSignal | undefined;
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
  /** In use afterwards: of the card, all of it; or of the process, where that is where the model lies. */
  readonly memory: UsedMemory | undefined;
  /** For which there was no time, by name. */
  readonly leftOut: readonly string[];
  /** For which there was no memory, by name. */
  readonly noRoom: readonly string[];
  /** Figures of a first run alone, compilation of shaders included: there was no time for another. */
  readonly firstRuns: readonly string[];
}

export interface DecodeSpeed {
  readonly chats: number;
  readonly stepMs: number;
  readonly tokensPerSecond: number;
  /** Bytes of a step over the bus, to the card and from it; undefined where there is none. */
  readonly bytesDown: number | undefined;
  readonly bytesUp: number | undefined;
}

const PATCH = 1536;
const QUESTION_TOKENS = 20;
/** Of which one is enough, where nothing is compiled: caches do not matter to it. */
const LONG_RUN_MS = 2000;

export async function measureSpeed(options: SpeedOptions): Promise<Speed> {
  const disposals: (() => Promise<void> | void)[] = [];
  try {
    const started = performance.now();
    const backend = await loadBackend(await openPackage(options.directory), {
      session: { device: options.device, signal: options.signal },
      contextTokens: options.capacity,
      maxConcurrent: Math.max(...options.batches),
      deviceMemoryBytes: undefined,
      captureGraphs: options.captureGraphs,
      stepKernels: options.stepKernels && "always",
      // A proof of something else than what was asked for would be none.
      onNote: (sentence) => {
        throw new Error(sentence);
      },
      onPart: () => {},
      onMade: (dispose) => disposals.push(dispose),
    });
    const loadMs = performance.now() - started;
    return await measure(backend, await openDevice(options.device), options, loadMs);
  } finally {
    for (const dispose of disposals.toReversed()) await dispose();
  }
}

async function measure(
  backend: Backend,
  open: OpenDevice | undefined,
  options: SpeedOptions,
  loadMs: number,
): Promise<Speed> {
  const { batches, work, budgetMs, signal } = options;
  const { visionEncoder } = backend;
  const { gridHeight, gridWidth, promptTokens } = work;
  const budget = new TimeBudget(budgetMs);
  const pictureTokens = (gridHeight * gridWidth) / 4;
  const pixelValues = Float32Array.from({ length: gridHeight * gridWidth * PATCH }, (_, i) =>
    Math.sin(i * 12.9898),
  );
  const picture = { gridHeight, gridWidth, pixelValues };
  const median = (name: string, expectedMs: number, once: () => Promise<unknown>) =>
    budget.fit(name, expectedMs, () => medianMs(name, options, budget, once));
  const visionMs = await median("picture", 0, () => visionEncoder.encode(picture, { signal }));
  const prefillMs = await median("prefill", 0, () => readText(backend, promptTokens, signal));
  const readMs = (prefillMs ?? 0) / runsOf(backend, promptTokens);
  const questionTokens = pictureTokens + QUESTION_TOKENS + 2;
  const firstTokenExpectedMs = (visionMs ?? 0) + readMs * runsOf(backend, questionTokens);
  const firstTokenMs = await median("first token", firstTokenExpectedMs, async () => {
    const features = await visionEncoder.encode(picture, { signal });
    const images = [{ start: 1, features }];
    const spans = [{ start: 1, rows: gridHeight / 2, columns: gridWidth / 2 }];
    const ids = someIds(questionTokens);
    const { positions } = mropePositions(ids.length, spans);
    const slot = backend.slots.open();
    await read(backend, { ids, positions, images }, slot, signal);
    slot.dispose();
  });
  const tokens: number[] = [];
  const watched = await watchEventLoop(async () => {
    const found: DecodeSpeed[] = [];
    for (const chats of batches) {
      const expectedMs = chats * readMs * runsOf(backend, work.contextTokens) + readMs;
      const answered = await budget.fit(`decode of ${chatsInWords(chats)}`, expectedMs, () =>
        answer(backend, open, chats, options, budget),
      );
      if (!answered) continue;
      const { stepMs, ids, bytesDown, bytesUp } = answered;
      if (chats === batches[0]) tokens.push(...ids);
      const tokensPerSecond = (1000 * chats) / stepMs;
      found.push({ chats, stepMs, tokensPerSecond, bytesDown, bytesUp });
    }
    return found;
  });
  const { result: decode, gaps, peakRss } = watched;
  const memory = await memoryInUse(open, peakRss);
  const { leftOut, firstRuns } = budget;
  return {
    ...{ pictureTokens, promptTokens, visionMs, prefillMs, firstTokenMs, decode, noRoom: [] },
    ...{ gapMs: gaps.longestMs, tokens, loadMs, memory, leftOut, firstRuns },
  };
}

/** In how many runs so many tokens are read. */
function runsOf({ mostTokens }: Backend, tokens: number): number {
  return Math.max(1, Math.ceil(tokens / mostTokens));
}

async function readText(backend: Backend, tokens: number, signal?: AbortSignal): Promise<void> {
  const slot = backend.slots.open();
  const { positions } = mropePositions(tokens, []);
  await read(backend, { ids: someIds(tokens), positions }, slot, signal);
  slot.dispose();
}

/** A prompt in one run, or in as few as the device computes rightly. */
async function read(
  { decoder, mostTokens }: Pick<Backend, "decoder" | "mostTokens">,
  input: DecoderInput,
  slot: KvSlot,
  signal: AbortSignal | undefined,
) {
  const { length } = input.ids;
  for (let start = 0; start < length; start += mostTokens) {
    const part = sliceInput(input, start, Math.min(start + mostTokens, length));
    await decoder.append(part, slot, { signal });
  }
}

/** Greedy answers of several chats at once. The median of the steps, and what the first chat said. */
async function answer(
  { decoder, slots, mostTokens }: Backend,
  device: OpenDevice | undefined,
  chats: number,
  { steps, work, signal }: SpeedOptions,
  budget: TimeBudget,
) {
  const { contextTokens: context, warmSteps } = work;
  const open = Array.from({ length: chats }, () => slots.open());
  const rows: { slot: (typeof open)[number]; id: number; position: number }[] = [];
  for (const [index, slot] of open.entries()) {
    const ids = someIds(context, index);
    await read(
      { decoder, mostTokens },
      { ids, positions: mropePositions(context, []).positions },
      slot,
      signal,
    );
    rows.push({ slot, id: 1000 + index, position: context });
  }
  const ids: number[] = [];
  const times: number[] = [];
  const before = traffic(device);
  for (let step = 0; step < steps + warmSteps; step++) {
    const start = performance.now();
    const scores = await decoder.decode(rows, { signal });
    for (const [index, row] of rows.entries()) {
      const found = scores[index]!;
      row.id = found instanceof Float32Array ? likeliest(found) : found.ids[0]!;
      row.position++;
    }
    if (step >= warmSteps) times.push(performance.now() - start);
    ids.push(rows[0]!.id);
    if (times.length > 0 && budget.spent) break;
  }
  const after = traffic(device);
  for (const slot of open) slot.dispose();
  const perStep = (way: "toDevice" | "fromDevice") =>
    before && after && Math.round((after[way] - before[way]) / ids.length);
  const bytes = { bytesDown: perStep("toDevice"), bytesUp: perStep("fromDevice") };
  return { stepMs: median(times), ids, ...bytes };
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
  { rounds, compiles = true }: SpeedOptions,
  budget: TimeBudget,
  work: () => Promise<unknown>,
): Promise<number> {
  const timed = async () => {
    const start = performance.now();
    await work();
    return performance.now() - start;
  };
  const first = await timed();
  if (!compiles && first > LONG_RUN_MS) return first;
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    if (!budget.has(times[0] ?? (compiles ? 0 : first))) break;
    times.push(await timed());
  }
  if (times.length === 0 && compiles) budget.firstRuns.push(name);
  return median(times.length > 0 ? times : [first]);
}

function median(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)]!;
}
