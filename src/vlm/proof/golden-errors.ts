// A golden checkpoint on a device: features, logits of prompts whole and in pieces, logits of each step, compared with
// what the reference computed, and where weights are quantised also with what the CPU makes of the same weights. In: a
// checkpoint, a device, a precision. Out: the largest errors; whether they are small enough is not known here.

import { join } from "node:path";
import { convertCheckpoint } from "../convert/convert.ts";
import type { PackagePrecision } from "../convert/package-graphs.ts";
import { preferredInt8Weights } from "../engine/cpu-settings.ts";
import type { Scores } from "../engine/decoder-backend.ts";
import { sliceInput } from "../engine/decoder-input.ts";
import { type Backend, loadBackend } from "../engine/load-backend.ts";
import { openPackage } from "../engine/onnx-package.ts";
import { relativeError } from "../engine/relative-error.ts";
import { type Device, type DeviceKind, deviceKind } from "../runtime/device.ts";
import { mropePositions } from "../text/position-ids.ts";
import {
  GOLDEN_IMAGE_TOKEN,
  type GoldenCase,
  type GoldenName,
  goldenCases,
  goldenCheckpoint,
} from "./goldens.ts";

const CAPACITY = 64;
/** Whole; and in pieces that cut pictures in the middle. */
const CHUNKS = [CAPACITY, 5];

export interface GoldenRun {
  readonly name: GoldenName;
  readonly device: Device;
  readonly precision: PackagePrecision;
  /** For packages; everything in it is the caller's to remove. */
  readonly directory: string;
  /** Names of the cases to compute. @default all */
  readonly cases?: readonly string[] | undefined;
  /** Most tokens of a run of a prompt; each case is computed once for each. @default whole, and in pieces of 5 */
  readonly chunks?: readonly number[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface GoldenErrors {
  /** Largest absolute difference of a logit. */
  readonly largest: number;
  /** Root mean square of the differences over that of the logits, the worst case. */
  readonly relative: number;
  /** The same against the CPU with the same quantised weights; undefined where weights are not quantised. */
  readonly fromCpu: number | undefined;
  /** Steps whose likeliest token is the reference's, of all. */
  readonly sameTokens: number;
  readonly steps: number;
}

/** @throws ModelLoadError, DeviceError, InferenceError when the device cannot compute at all */
export async function goldenErrors(run: GoldenRun): Promise<GoldenErrors> {
  const { name, device, precision, cases: wanted, chunks = CHUNKS } = run;
  const cases = (await goldenCases(name)).filter(
    (golden) => wanted === undefined || wanted.includes(golden.name),
  );
  const found = await compute(run, cases, chunks);
  const [largest, relative] = differences(
    found.flatMap(({ rows }) => rows),
    found.flatMap(({ golden }) => referenceRows(golden)),
  );
  const steps = found.flatMap(({ golden, rows }) =>
    golden.decodeLogits.map((expected, step) => {
      const actual = rows[golden.inputIds.length + step]!;
      return indexOfLargest(actual) === indexOfLargest(expected);
    }),
  );
  const quantised = precision.decoder !== "fp32" && precision.decoder !== "fp16";
  // The reference knows nothing of what four bits lose, and noise loses much: that may hide an error of the device.
  const beside =
    quantised && device !== "cpu" ? await compute(run, cases, [CAPACITY], besideOnCpu(run)) : [];
  const fromCpu = beside.flatMap(({ golden, rows }) =>
    found
      .filter((other) => other.golden === golden)
      .map((other) => differences(other.rows, rows)[1]),
  );
  return {
    largest,
    relative,
    fromCpu: beside.length > 0 ? Math.max(...fromCpu) : undefined,
    sameTokens: steps.filter(Boolean).length,
    steps: steps.length,
  };
}

interface Computed {
  readonly golden: GoldenCase;
  /** Logits of every token of the prompt, then of every step. */
  readonly rows: readonly Float32Array[];
}

/** What computes: a package made for one kind of device, on a device. */
interface Place {
  readonly device: Device;
  readonly made: DeviceKind;
  readonly precision: PackagePrecision;
}

/** Where the same quantised weights are computed by the CPU. */
function besideOnCpu({ device, precision }: GoldenRun): Place {
  // The graphs of WebGPU are the CPU's too; of a card's, the CPU has another form, and no eyes in bf16.
  if (deviceKind(device) === "webgpu") return { device: "cpu", made: "webgpu", precision };
  return { device: "cpu", made: "cpu", precision: { ...precision, vision: "fp16" } };
}

async function compute(
  run: GoldenRun,
  cases: readonly GoldenCase[],
  chunks: readonly number[],
  place: Place = { device: run.device, made: deviceKind(run.device), precision: run.precision },
): Promise<Computed[]> {
  const { name, directory, signal } = run;
  const { decoder, vision } = place.precision;
  const outputDir = join(directory, `${name}-${decoder}-${vision}-${place.made}`);
  await convertCheckpoint({
    checkpointDir: await goldenCheckpoint(name, directory),
    outputDir,
    precision: decoder,
    visionPrecision: vision,
    device: place.made,
    // As a load on this machine would have it.
    ...(place.made === "cpu" ? { int8Weights: await preferredInt8Weights() } : {}),
    signal,
  });
  const disposals: (() => Promise<void> | void)[] = [];
  try {
    const backend = await loadBackend(await openPackage(outputDir), {
      session: { device: place.device, signal },
      madeFor: place.made,
      contextTokens: CAPACITY,
      maxConcurrent: 2,
      deviceMemoryBytes: undefined,
      captureGraphs: false,
      onPart: () => {},
      onMade: (dispose) => disposals.push(dispose),
    });
    const computed: Computed[] = [];
    for (const golden of cases) {
      for (const chunk of chunks) {
        signal?.throwIfAborted();
        computed.push({ golden, rows: await computeCase(golden, chunk, backend) });
      }
    }
    return computed;
  } finally {
    for (const dispose of disposals.toReversed()) await dispose();
  }
}

async function computeCase(
  golden: GoldenCase,
  chunk: number,
  { visionEncoder, decoder, slots, mostTokens }: Backend,
): Promise<Float32Array[]> {
  const input = await inputOf(golden, visionEncoder);
  const slot = slots.open();
  const rows: Float32Array[] = [];
  const add = async (scores: readonly Scores[]) => {
    // The decoder may write the next ones where these are.
    for (const row of scores) {
      rows.push(row instanceof Float32Array ? row.slice() : await row.full());
    }
  };
  try {
    const step = Math.min(chunk, mostTokens);
    for (let start = 0; start < input.ids.length; start += step) {
      const end = Math.min(start + step, input.ids.length);
      await add(await decoder.append(sliceInput(input, start, end), slot, { scores: "all" }));
    }
    for (const [index, id] of golden.greedyTokens.slice(0, golden.decodeLogits.length).entries()) {
      await add(await decoder.decode([{ slot, id, position: input.nextPosition + index }]));
    }
    return rows;
  } finally {
    slot.dispose();
  }
}

async function inputOf(golden: GoldenCase, encoder: Backend["visionEncoder"]) {
  const spans = [];
  const images = [];
  let [firstPatch, from] = [0, 0];
  for (const [, gridHeight, gridWidth] of golden.grids) {
    const end = firstPatch + gridHeight * gridWidth;
    const pixelValues = golden.pixelValues.subarray(firstPatch * 1536, end * 1536);
    const features = await encoder.encode({ pixelValues, gridHeight, gridWidth });
    const start = golden.inputIds.indexOf(GOLDEN_IMAGE_TOKEN, from);
    spans.push({ start, rows: gridHeight / 2, columns: gridWidth / 2 });
    images.push({ start, features });
    [firstPatch, from] = [end, start + features.tokens];
  }
  const { positions, nextPosition } = mropePositions(golden.inputIds.length, spans);
  return { ids: Int32Array.from(golden.inputIds), positions, images, nextPosition };
}

function referenceRows({ inputIds, logits, decodeLogits }: GoldenCase): Float32Array[] {
  const vocabulary = logits.length / inputIds.length;
  const prompt = inputIds.map((_, row) =>
    logits.subarray(row * vocabulary, (row + 1) * vocabulary),
  );
  return [...prompt, ...decodeLogits];
}

/** The largest difference of all, and the largest relative one of a row. */
function differences(
  actual: readonly Float32Array[],
  expected: readonly Float32Array[],
): readonly [largest: number, relative: number] {
  let [largest, relative] = [0, 0];
  for (const [index, row] of expected.entries()) {
    for (const [i, value] of row.entries()) {
      largest = Math.max(largest, orWorst(Math.abs(actual[index]![i]! - value)));
    }
    relative = Math.max(relative, relativeError(actual[index]!, row));
  }
  return [largest, relative];
}

/** What is no number is as wrong as can be. */
function orWorst(value: number): number {
  return Number.isNaN(value) ? Number.POSITIVE_INFINITY : value;
}

function indexOfLargest(values: Float32Array): number {
  return values.indexOf(Math.max(...values));
}
