// The decoder's weights on a card as kernels of our own need them: by name, and in formats that they know. In: a package.
// Out: one block of memory that the graph's session uses too, or why there is none.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { CANDIDATES } from "../convert/candidate-search.ts";
import { CARD_FORM, deviceDecoderGraph } from "../convert/device-decoder-graph.ts";
import type { ExternalTensor } from "../convert/onnx-model.ts";
import { CardWeights, type StoredTensor, type WeightOptions } from "../runtime/card-weights.ts";
import type { CudaDevice } from "../runtime/cuda-device.ts";
import type { OnnxPackage } from "./onnx-package.ts";
import { sharedBytesOfMix } from "./step-plan.ts";

/** Weights are there, but not as the kernels know them, or of no use to compare with. */
export class StepWeightsError extends Error {
  override readonly name = "StepWeightsError";
}

/**
 * @throws StepWeightsError where the kernels cannot use them; DeviceError `device-memory`
 */
export async function loadStepWeights(
  card: CudaDevice,
  model: OnnxPackage,
  options: WeightOptions = {},
): Promise<CardWeights> {
  expectSizes(model);
  const tensors = await storedTensors(model);
  const file = join(model.directory, model.manifest.decoder.dataFile);
  return CardWeights.load(card, file, tensors, options);
}

/** What lies where: the graph is written again, and must be the very file of the package. */
async function storedTensors({
  config,
  directory,
  manifest,
}: OnnxPackage): Promise<StoredTensor[]> {
  const { decoder, precision, converterVersion } = manifest;
  if (precision.decoder !== "q4f16") {
    throw new StepWeightsError(`they are for q4f16, and this package is in ${precision.decoder}`);
  }
  const { model } = deviceDecoderGraph(config, precision.decoder, CARD_FORM);
  const written = model.serialize(decoder.dataFile, converterVersion);
  const found = await readFile(join(directory, decoder.file));
  if (Buffer.compare(written, found) !== 0) {
    throw new StepWeightsError(
      "the package was written by another version, or keeps the levels of its checkpoint",
    );
  }
  return model.externals.map(stored);
}

function stored({ name, type, shape, offset }: ExternalTensor): StoredTensor {
  if (type === "bf16") throw new TypeError(`The decoder has no weights in bf16: ${name}`);
  return { name, type, shape, offset };
}

/** What a kernel may declare for the threads of a block to share. */
const MOST_SHARED_BYTES = 48 * 1024;

function expectSizes({ config: { text } }: OnnxPackage): void {
  const { hiddenSize, intermediateSize, heads, kvHeads, headSize, vocabSize } = text;
  const widths = [hiddenSize, intermediateSize, heads * headSize];
  if (!widths.every((size) => size % 32 === 0)) {
    throw new StepWeightsError(`they know widths of whole blocks of 32, not ${widths.join(", ")}`);
  }
  if (![16, 32, 64, 128, 256].includes(headSize)) {
    throw new StepWeightsError(`they know heads of 16 to 256, doubling, and not of ${headSize}`);
  }
  if (sharedBytesOfMix(heads / kvHeads, headSize) > MOST_SHARED_BYTES) {
    const shape = `${heads} heads of queries on ${kvHeads} of keys of size ${headSize}`;
    throw new StepWeightsError(`a block of threads has no memory for ${shape}`);
  }
  if (vocabSize < CANDIDATES) {
    throw new StepWeightsError(`they know vocabularies of ${CANDIDATES} tokens and more`);
  }
}
