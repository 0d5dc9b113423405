// The golden checkpoints on a device: features, logits of prompts whole and in pieces, logits of each step, compared
// with what the reference computed. In: a precision. Out: the largest errors.

import { join } from "node:path";
import { convertCheckpoint } from "../../vlm/convert/convert.ts";
import type { Precision } from "../../vlm/convert/linear-layers.ts";
import type { DecoderBackend, KvSlot, Scores } from "../../vlm/engine/decoder-backend.ts";
import { sliceInput } from "../../vlm/engine/decoder-input.ts";
import { loadBackend } from "../../vlm/engine/load-backend.ts";
import { openPackage } from "../../vlm/engine/onnx-package.ts";
import type { VisionEncoder } from "../../vlm/engine/vision-encoder.ts";
import { type Device, deviceKind } from "../../vlm/runtime/device.ts";
import { mropePositions } from "../../vlm/text/position-ids.ts";
import {
  GOLDEN_IMAGE_TOKEN,
  type GoldenCase,
  type GoldenName,
  goldenCases,
  goldenCheckpoint,
} from "./goldens.ts";

const CAPACITY = 64;
/** Whole; and in pieces that cut pictures in the middle. */
const CHUNKS = [1000, 5];

export interface GoldenErrors {
  /** Largest absolute difference of a logit. */
  readonly largest: number;
  /** Root mean square of the differences over that of the logits, the worst case. */
  readonly relative: number;
  /** Steps whose likeliest token is the reference's, of all. */
  readonly sameTokens: number;
  readonly steps: number;
}

/** @param directory for packages; everything in it is the caller's to remove */
export async function goldenErrors(
  name: GoldenName,
  device: Device,
  precision: Precision,
  directory: string,
): Promise<GoldenErrors> {
  const outputDir = join(directory, `${name}-${precision}`);
  await convertCheckpoint({
    checkpointDir: await goldenCheckpoint(name, directory),
    outputDir,
    precision,
    device: deviceKind(device),
  });
  const disposals: (() => Promise<void> | void)[] = [];
  try {
    const { visionEncoder, decoder, slots, mostTokens } = await loadBackend(
      await openPackage(outputDir),
      {
        session: { device },
        contextTokens: CAPACITY,
        maxConcurrent: 2,
        deviceMemoryBytes: undefined,
        captureGraphs: false,
        onPart: () => {},
        onMade: (dispose) => disposals.push(dispose),
      },
    );
    const sum = new ErrorSum();
    for (const golden of await goldenCases(name)) {
      for (const chunk of CHUNKS) {
        const slot = slots.open();
        await compare(golden, Math.min(chunk, mostTokens), { visionEncoder, decoder, slot, sum });
        slot.dispose();
      }
    }
    return sum.errors;
  } finally {
    for (const dispose of disposals.toReversed()) await dispose();
  }
}

interface Parts {
  readonly visionEncoder: VisionEncoder;
  readonly decoder: DecoderBackend;
  readonly slot: KvSlot;
  readonly sum: ErrorSum;
}

async function compare(golden: GoldenCase, chunk: number, parts: Parts): Promise<void> {
  const { decoder, slot, sum } = parts;
  const input = await inputOf(golden, parts.visionEncoder);
  const vocabulary = golden.logits.length / golden.inputIds.length;
  for (let start = 0; start < input.ids.length; start += chunk) {
    const end = Math.min(start + chunk, input.ids.length);
    const scores = await decoder.append(sliceInput(input, start, end), slot, { scores: "all" });
    for (const [index, row] of scores.entries()) {
      const first = (start + index) * vocabulary;
      sum.add(await allOf(row), golden.logits.subarray(first, first + vocabulary));
    }
  }
  for (const [step, expected] of golden.decodeLogits.entries()) {
    const row = { slot, id: golden.greedyTokens[step]!, position: input.nextPosition + step };
    const [scores] = await decoder.decode([row]);
    sum.addStep(await allOf(scores!), expected);
  }
}

async function inputOf(golden: GoldenCase, encoder: VisionEncoder) {
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

async function allOf(scores: Scores): Promise<Float32Array> {
  return scores instanceof Float32Array ? scores : await scores.full();
}

/** The worst of what was compared. */
class ErrorSum {
  #largest = 0;
  #relative = 0;
  #sameTokens = 0;
  #steps = 0;

  get errors(): GoldenErrors {
    const [largest, relative] = [this.#largest, this.#relative];
    return { largest, relative, sameTokens: this.#sameTokens, steps: this.#steps };
  }

  add(actual: Float32Array, expected: Float32Array): void {
    let [errors, squares] = [0, 0];
    for (let i = 0; i < expected.length; i++) {
      const difference = Math.abs(actual[i]! - expected[i]!);
      // What is no number is as wrong as can be.
      this.#largest = Math.max(this.#largest, Number.isNaN(difference) ? Infinity : difference);
      errors += difference ** 2;
      squares += expected[i]! ** 2;
    }
    const relative = Math.sqrt(errors / squares);
    this.#relative = Math.max(this.#relative, Number.isNaN(relative) ? Infinity : relative);
  }

  addStep(actual: Float32Array, expected: Float32Array): void {
    this.add(actual, expected);
    this.#steps++;
    if (indexOfLargest(actual) === indexOfLargest(expected)) this.#sameTokens++;
  }
}

function indexOfLargest(values: Float32Array): number {
  return values.indexOf(Math.max(...values));
}
