// A package of any size whose weights are noise, made without a checkpoint: as fast to run as a real one, and written
// as fast as the disk takes it. In: a size and a precision. Out: a directory that the engine opens.

import { randomFillSync } from "node:crypto";
import { copyFile, mkdir, open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { packagePath } from "../../package-root.ts";
import { parseConfig } from "../../vlm/checkpoint/config.ts";
import { fromFloat32 } from "../../vlm/checkpoint/dtype.ts";
import type { FloatType } from "../../vlm/convert/linear-layers.ts";
import {
  CONVERTER_VERSION,
  FORMAT_VERSION,
  MANIFEST_FILE,
  serializeManifest,
} from "../../vlm/convert/manifest.ts";
import { type ExternalTensor, ONNX_OPSET } from "../../vlm/convert/onnx-model.ts";
import {
  type PackageDevice,
  type PackagePrecision,
  packageGraphs,
  runsAsOnCard,
} from "../../vlm/convert/package-graphs.ts";
import type { WeightPlan } from "../../vlm/convert/weight-plan.ts";
import { preferredInt8Weights } from "../../vlm/engine/cpu-settings.ts";
import { BORROWED_FILES } from "../../vlm/proof/goldens.ts";
import type { ShapeName } from "../bench/shape-names.ts";
import { configOf } from "../bench/shapes.ts";

/** Numbers drawn once and written again and again; odd, so that rows of weights differ. */
const NOISE_LENGTH = 4_194_301;
/** Standard deviation of weights: what the models were initialised with before training. */
const SPREAD = 0.02;

/** Writes a package, in the form that this machine would have it in; returns the bytes of its weights. */
export async function writeRandomPackage(
  directory: string,
  shape: ShapeName,
  precision: PackagePrecision,
  device: PackageDevice,
  signal?: AbortSignal,
): Promise<number> {
  await mkdir(directory, { recursive: true });
  const json = configOf(shape);
  const config = parseConfig(json, directory);
  const int8Weights = device === "cpu" ? await preferredInt8Weights() : "s8";
  const graphs = packageGraphs(config, precision, device, { int8Weights });
  const noise = new Noise();
  const entries = [];
  for (const { model, plan } of [graphs.vision, graphs.decoder]) {
    const file = `${model.name}.onnx`;
    const dataFile = `${file}.data`;
    await writeFile(join(directory, file), model.serialize(dataFile, CONVERTER_VERSION));
    await writeWeights(join(directory, dataFile), plan, noise, signal);
    entries.push({ file, dataFile, bytes: model.externalByteLength });
  }
  await writeFile(join(directory, "config.json"), JSON.stringify(json));
  // No word of it is ever used.
  for (const name of BORROWED_FILES) {
    await copyFile(packagePath(`examples/tiny-chat/${name}`), join(directory, name));
  }
  const { vocabSize: rows, hiddenSize: columns } = config.text;
  const embedTokens = { file: "embed_tokens.bin", dtype: "f16" as const, rows, columns };
  // Packages for cards have the table in their graph.
  if (!runsAsOnCard(precision.decoder, device)) {
    const table = await open(join(directory, embedTokens.file), "w");
    const byteLength = 2 * rows * columns;
    await writeTensor(table, { offset: 0, byteLength }, noise.floats("f16"), signal).finally(() =>
      table.close(),
    );
  }
  const [visionEncoder, decoder] = entries.map(({ file, dataFile }) => ({
    ...{ file, dataFile, inputs: {}, outputs: {} },
  }));
  const manifest = serializeManifest({
    formatVersion: FORMAT_VERSION,
    converterVersion: CONVERTER_VERSION,
    opset: ONNX_OPSET,
    source: { name: `random ${shape}` },
    assumptions: [],
    precision,
    device,
    int8Weights,
    tensorGroups: {},
    layers: [],
    visionEncoder: visionEncoder!,
    cacheDecoders: {},
    decoder: decoder!,
    embedTokens,
    inputs: [],
    adapters: [],
    outputs: entries.map(({ dataFile, bytes }) => ({ file: dataFile, bytes, sha256: "" })),
  });
  await writeFile(join(directory, MANIFEST_FILE), manifest);
  return entries.reduce((sum, { bytes }) => sum + bytes, 0);
}

async function writeWeights(
  path: string,
  plan: readonly WeightPlan[],
  noise: Noise,
  signal: AbortSignal | undefined,
): Promise<void> {
  const file = await open(path, "w");
  try {
    for (const line of plan) {
      for (const tensor of "scales" in line ? [line.target, line.scales] : [line.target]) {
        await writeTensor(file, tensor, noise.bytesFor(line, tensor), signal);
      }
    }
  } finally {
    await file.close();
  }
}

async function writeTensor(
  file: Awaited<ReturnType<typeof open>>,
  { offset, byteLength }: Pick<ExternalTensor, "offset" | "byteLength">,
  bytes: Uint8Array,
  signal?: AbortSignal,
): Promise<void> {
  for (let written = 0; written < byteLength; written += bytes.byteLength) {
    signal?.throwIfAborted();
    const length = Math.min(bytes.byteLength, byteLength - written);
    await file.write(bytes, 0, length, offset + written);
  }
}

/** Noise in every number format. */
class Noise {
  readonly #floats = Float32Array.from({ length: NOISE_LENGTH }, gaussian(SPREAD));
  readonly #levels = randomFillSync(new Uint8Array(NOISE_LENGTH));
  readonly #narrow = new Map<FloatType, Uint8Array>();

  bytesFor(line: WeightPlan, tensor: ExternalTensor): Uint8Array {
    if (tensor.type === "u8" || tensor.type === "i8") return this.#levels;
    const type = tensor.type as FloatType;
    // Levels are up to 8 or 128 steps from zero.
    if (line.kind === "blocks" && tensor === line.scales) {
      return alternating(type, SPREAD / (line.bits === 4 ? 4 : 64));
    }
    if (line.kind === "int8" && tensor === line.scales) return repeated(type, SPREAD / 64);
    if (tensor.shape.length === 1 && /norm/.test(tensor.name)) return repeated(type, 1);
    return this.floats(type);
  }

  floats(type: FloatType): Uint8Array {
    if (type === "f32") return new Uint8Array(this.#floats.buffer);
    const known = this.#narrow.get(type);
    if (known) return known;
    const bits = new Uint16Array(NOISE_LENGTH);
    fromFloat32(this.#floats, type, bits);
    const bytes = new Uint8Array(bits.buffer);
    this.#narrow.set(type, bytes);
    return bytes;
  }
}

/**
 * A number and its negative, by turns. The middle of all levels lies beside zero: with one sign, sums would grow from
 * layer to layer until 16 bits cannot hold them.
 */
function alternating(type: FloatType, value: number): Uint8Array {
  return inFormat(
    type,
    Float32Array.from({ length: 65_536 }, (_, i) => (i % 2 ? -value : value)),
  );
}

/** A number again and again. */
function repeated(type: FloatType, value: number): Uint8Array {
  return inFormat(type, new Float32Array(65_536).fill(value));
}

function inFormat(type: FloatType, values: Float32Array<ArrayBuffer>): Uint8Array {
  if (type === "f32") return new Uint8Array(values.buffer);
  const bits = new Uint16Array(values.length);
  fromFloat32(values, type, bits);
  return new Uint8Array(bits.buffer);
}

/** Sums of uniform numbers are near enough to a normal distribution. */
function gaussian(spread: number): () => number {
  let state = 1;
  const uniform = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
  return () => spread * 2 * (uniform() + uniform() + uniform());
}
