// Checkpoint in, ONNX package out: two graphs with their weights, the embedding table, settings and tokenizer
// files, and a manifest. Streams tensor by tensor; the same checkpoint gives the same bytes; a run that ends
// early leaves nothing that loads.

import { readFile, stat } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { disk } from "../../disk.ts";
import { DiskError } from "../../disk-error.ts";
import { object, oneOf, parseOptions } from "../../parse-options.ts";
import { mendConfig, type Qwen3VlConfig } from "../checkpoint/config.ts";
import { DTYPE_BYTES, weightDtype } from "../checkpoint/dtype.ts";
import { readJsonFile } from "../checkpoint/json-fields.ts";
import { type Checkpoint, openCheckpoint } from "../checkpoint/open-checkpoint.ts";
import { EMBED_TOKENS } from "../checkpoint/tensor-names.ts";
import { ModelLoadError } from "../errors.ts";
import { balanceBytes, balanceInputs, type InputsInPrecision } from "./balance-inputs.ts";
import { headPrecision } from "./decoder-graph.ts";
import { withDiskTrouble, withNeededBytes } from "./disk-trouble.ts";
import {
  type FileDigest,
  fingerprintFile,
  HashedFile,
  PIECE_BYTES,
  type StreamOptions,
  sha256File,
} from "./hashed-file.ts";
import {
  type CpuPrecision,
  INT8_WEIGHTS,
  type Int8Weights,
  PRECISIONS,
  type Precision,
  type ProductPrecision,
  type WiderFormats,
} from "./linear-layers.ts";
import {
  CONVERTER_VERSION,
  FORMAT_VERSION,
  type GraphEntry,
  type InputDigest,
  isMarkedAsPackage,
  MANIFEST_FILE,
  type PackageManifest,
  readManifest,
  serializeManifest,
} from "./manifest.ts";
import { type GraphValue, ONNX_OPSET } from "./onnx-model.ts";
import {
  checkPrecision,
  defaultVisionPrecision,
  deviceOfPrecision,
  isDevicePrecision,
  PACKAGE_DEVICES,
  type PackageDevice,
  packageGraphs,
} from "./package-graphs.ts";
import { decoderInputs, visionInputs } from "./product-inputs.ts";
import { DEVICE_BLOCK, INT4_BLOCK } from "./quantize.ts";
import { RowReader } from "./row-reader.ts";
import { StagingDirectory } from "./staging.ts";
import { type PlannedGraph, VISION_PRECISIONS, type VisionPrecision } from "./vision-graph.ts";
import { WeightWriter } from "./weight-writer.ts";

const EMBED_TOKENS_FILE = "embed_tokens.bin";
/** Graphs without their weights, and the manifest. */
const SMALL_FILES_BYTES = 4 * 2 ** 20;

interface PlannedGraphs {
  readonly vision: PlannedGraph;
  readonly decoder: PlannedGraph;
}

interface InputState {
  readonly size: number;
  readonly mtimeMs: number;
}

export type ConvertStage =
  /** Also measures what the layers lose, and where a scale is moved. */
  "hashing-checkpoint" | "vision-encoder" | "decoder" | "embedding-table" | "finishing";

/** How far a conversion is; bytes count over all stages. */
export interface ConvertProgress {
  readonly stage: ConvertStage;
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface ConvertOptions {
  /** A Qwen3-VL checkpoint as published. */
  readonly checkpointDir: string;
  /** Where the package goes. Must not exist, be empty, or hold an earlier package, which is replaced. */
  readonly outputDir: string;
  readonly precision: Precision;
  /** @default on the CPU `fp32` beside an fp32 decoder, else `w8a8`; `bf16` for CUDA, `fp32` for WebGPU */
  readonly visionPrecision?: VisionPrecision | undefined;
  /** What the package is for. @default "cuda" for precisions `fp16` and `q4f16`, else "cpu" */
  readonly device?: PackageDevice | undefined;
  /**
   * `s8` is several times faster on CPUs with VNNI or AMX, `s8-paired` on x64 CPUs without them. See
   * `preferredInt8Weights`. @default "s8"
   */
  readonly int8Weights?: Int8Weights | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: ConvertProgress) => void) | undefined;
}

/**
 * Converts a checkpoint.
 *
 * @throws ModelLoadError when the checkpoint cannot be used, or the disk is full (`disk-full`, before anything is
 *   written where the system tells how much is free), read-only (`not-writable`) or the package held by another
 *   program for most of a minute (`files-held`); TypeError for wrong options; the signal's own reason when aborted
 */
export async function convertCheckpoint(options: ConvertOptions): Promise<PackageManifest> {
  const { precision, device } = checkOptions(options);
  options.signal?.throwIfAborted();
  return await withDiskTrouble(options.checkpointDir, () =>
    convertTo({ precision, device }, options),
  );
}

async function convertTo(
  formats: Pick<PackageManifest, "precision" | "device">,
  options: ConvertOptions,
): Promise<PackageManifest> {
  const checkpoint = await openCheckpoint(options.checkpointDir);
  try {
    const staging = await StagingDirectory.create(options.outputDir, {
      assertReplaceable,
      keyFile: MANIFEST_FILE,
    });
    try {
      await new Conversion(checkpoint, staging.dir, formats, options).run();
      const manifest = await readManifest(staging.dir);
      await staging.publish(options.signal);
      await untilReadable(options.outputDir, manifest);
      return manifest;
    } finally {
      await staging.discard();
    }
  } finally {
    await checkpoint.close();
  }
}

/** A scanner may still read the fresh files; ONNX Runtime does not wait for it. */
async function untilReadable(dir: string, { outputs }: PackageManifest): Promise<void> {
  try {
    for (const { file } of outputs) await (await disk.open(join(dir, file), "r")).close();
  } catch (error) {
    // Gone already: another conversion has put its own there.
    if (error instanceof DiskError) throw error;
  }
}

class Conversion {
  readonly #checkpoint: Checkpoint;
  readonly #dir: string;
  readonly #precision: PackageManifest["precision"];
  readonly #device: PackageDevice;
  readonly #options: ConvertOptions;
  readonly #stream: StreamOptions;
  readonly #outputs: FileDigest[] = [];
  #stage: ConvertStage = "hashing-checkpoint";
  #doneBytes = 0;
  #totalBytes = 0;

  constructor(
    checkpoint: Checkpoint,
    dir: string,
    { precision, device }: Pick<PackageManifest, "precision" | "device">,
    options: ConvertOptions,
  ) {
    this.#checkpoint = checkpoint;
    this.#dir = dir;
    this.#precision = precision;
    this.#device = device;
    this.#options = options;
    this.#stream = { signal: options.signal, onBytes: (bytes) => this.#advance(bytes) };
  }

  async run(): Promise<void> {
    const measured =
      this.#device === "cpu" ? productInputs(this.#checkpoint.config, this.#precision) : [];
    const inputFiles = [...this.#checkpoint.settingsFiles, ...this.#checkpoint.weightFiles];
    const before = await this.#inputStates(inputFiles);
    const readBytes =
      before.reduce((sum, { size }) => sum + size, 0) + balanceBytes(this.#checkpoint, measured);
    const outputBytes = this.#outputBytes(this.#plan());
    this.#totalBytes = readBytes + outputBytes;
    const settingsBytes = before
      .slice(0, this.#checkpoint.settingsFiles.length)
      .reduce((sum, { size }) => sum + size, 0);
    const neededBytes = outputBytes + settingsBytes + SMALL_FILES_BYTES;
    await disk.assertRoom(this.#dir, neededBytes);
    try {
      await this.#write(measured, readBytes, inputFiles, before);
    } catch (error) {
      throw withNeededBytes(error, neededBytes, this.#options.outputDir);
    }
  }

  #plan(wider?: WiderFormats): PlannedGraphs {
    const { config } = this.#checkpoint;
    const int8Weights = this.#options.int8Weights ?? "s8";
    return packageGraphs(config, this.#precision, this.#device, { int8Weights, wider });
  }

  #outputBytes({ vision, decoder }: PlannedGraphs): number {
    const table = this.#checkpoint.tensors.get(EMBED_TOKENS)?.byteLength ?? 0;
    return vision.model.externalByteLength + decoder.model.externalByteLength + table;
  }

  async #write(
    measured: readonly InputsInPrecision[],
    readBytes: number,
    inputFiles: readonly string[],
    before: readonly InputState[],
  ): Promise<void> {
    const inputs = await this.#hashInputs(inputFiles);
    const { moves, wider, layers } = await balanceInputs(this.#checkpoint, measured, this.#stream);
    const { vision, decoder } = this.#plan(wider);
    this.#totalBytes = readBytes + this.#outputBytes({ vision, decoder });
    const reader = new RowReader(this.#checkpoint, moves);
    this.#enter("vision-encoder");
    const visionEncoder = await this.#writeGraph(vision, reader);
    this.#enter("decoder");
    const decoderEntry = await this.#writeGraph(decoder, reader);
    this.#enter("embedding-table");
    const embedTokens = await this.#writeEmbeddingTable();
    this.#enter("finishing");
    for (const file of this.#checkpoint.settingsFiles) {
      await this.#writeFile(file, await this.#settingsBytes(file));
    }
    await this.#assertUnchanged(inputFiles, before);
    await this.#writeManifest({
      inputs,
      layers,
      visionEncoder,
      decoder: decoderEntry,
      embedTokens,
    });
  }

  async #hashInputs(files: readonly string[]): Promise<InputDigest[]> {
    const inputs: InputDigest[] = [];
    for (const file of files) {
      const path = join(this.#checkpoint.dir, file);
      const digest = await sha256File(path, this.#stream);
      inputs.push({ ...digest, file, fingerprint: await fingerprintFile(path) });
    }
    return inputs;
  }

  async #writeGraph({ model, plan }: PlannedGraph, reader: RowReader): Promise<GraphEntry> {
    const file = `${model.name}.onnx`;
    const dataFile = `${file}.data`;
    const data = await HashedFile.create(join(this.#dir, dataFile), this.#stream);
    try {
      await new WeightWriter(reader, data).write(plan);
      this.#outputs.push(await data.finish());
    } finally {
      await data.close();
    }
    await this.#writeFile(file, model.serialize(dataFile, CONVERTER_VERSION));
    return { file, dataFile, inputs: describe(model.inputs), outputs: describe(model.outputs) };
  }

  /** Rows as they are stored: looked up one by one, they need no other form. */
  async #writeEmbeddingTable(): Promise<PackageManifest["embedTokens"]> {
    const tensor = this.#checkpoint.tensors.get(EMBED_TOKENS);
    const [rows, columns] = tensor?.shape ?? [];
    if (tensor === undefined || rows === undefined || columns === undefined) {
      throw new RangeError(`The checkpoint has no matrix ${EMBED_TOKENS}.`);
    }
    const dtype = weightDtype(tensor.dtype);
    const table = await HashedFile.create(join(this.#dir, EMBED_TOKENS_FILE), this.#stream);
    try {
      const piece = new Uint8Array(PIECE_BYTES);
      const byteLength = rows * columns * DTYPE_BYTES[dtype];
      for (let start = 0; start < byteLength; start += piece.byteLength) {
        const part = piece.subarray(0, Math.min(piece.byteLength, byteLength - start));
        await this.#checkpoint.weights.read(tensor, start, part);
        await table.append(part);
      }
      this.#outputs.push(await table.finish());
    } finally {
      await table.close();
    }
    return { file: EMBED_TOKENS_FILE, dtype, rows, columns };
  }

  /** As they are stored; but a package has no tensors to settle what its config.json leaves open. */
  async #settingsBytes(file: string): Promise<Uint8Array> {
    const bytes = await readFile(join(this.#checkpoint.dir, file));
    if (file !== "config.json") return bytes;
    const json = await readJsonFile(this.#checkpoint.dir, file);
    const mended = mendConfig(json, this.#checkpoint.config);
    return mended === undefined ? bytes : Buffer.from(`${JSON.stringify(mended, undefined, 2)}\n`);
  }

  async #writeFile(file: string, bytes: Uint8Array): Promise<void> {
    const output = await HashedFile.create(join(this.#dir, file), { signal: this.#stream.signal });
    try {
      await output.append(bytes);
      this.#outputs.push(await output.finish());
    } finally {
      await output.close();
    }
  }

  async #writeManifest(
    parts: Pick<PackageManifest, "inputs" | "layers" | "visionEncoder" | "decoder" | "embedTokens">,
  ): Promise<void> {
    const manifest = serializeManifest({
      formatVersion: FORMAT_VERSION,
      converterVersion: CONVERTER_VERSION,
      opset: ONNX_OPSET,
      source: this.#checkpoint.source,
      assumptions: this.#checkpoint.assumptions,
      precision: this.#precision,
      device: this.#device,
      int8Weights: this.#options.int8Weights ?? "s8",
      tensorGroups: tensorGroups(this.#precision, this.#device, parts.embedTokens.dtype),
      ...parts,
      outputs: this.#outputs.toSorted((a, b) => (a.file < b.file ? -1 : 1)),
    });
    await disk.replaceFile(join(this.#dir, MANIFEST_FILE), manifest);
  }

  async #inputStates(files: readonly string[]): Promise<InputState[]> {
    return await Promise.all(files.map((file) => stat(join(this.#checkpoint.dir, file))));
  }

  /** The hashes are of what was read first; make sure that the weights read later are the same. */
  async #assertUnchanged(files: readonly string[], before: readonly InputState[]): Promise<void> {
    const after = await this.#inputStates(files);
    const changed = files.filter(
      (_, i) => after[i]?.size !== before[i]?.size || after[i]?.mtimeMs !== before[i]?.mtimeMs,
    );
    if (changed.length > 0) {
      throw new ModelLoadError(
        "model-corrupt",
        `The checkpoint changed while it was being converted: ${changed.join(", ")}.`,
        { modelDir: this.#checkpoint.dir },
      );
    }
  }

  #enter(stage: ConvertStage): void {
    this.#stage = stage;
    this.#advance(0);
  }

  #advance(bytes: number): void {
    this.#doneBytes += bytes;
    this.#options.onProgress?.({
      stage: this.#stage,
      doneBytes: this.#doneBytes,
      totalBytes: this.#totalBytes,
    });
  }
}

const FORMATS_SCHEMA = object({
  precision: oneOf(PRECISIONS),
  visionPrecision: oneOf(VISION_PRECISIONS).optional(),
  device: oneOf(PACKAGE_DEVICES).optional(),
  int8Weights: oneOf(INT8_WEIGHTS).optional(),
});

function checkOptions(options: ConvertOptions): Pick<PackageManifest, "precision" | "device"> {
  const { precision: decoder, visionPrecision, int8Weights } = options;
  const formats = { precision: decoder, visionPrecision, device: options.device, int8Weights };
  parseOptions(FORMATS_SCHEMA, formats, "convertCheckpoint");
  const device = options.device ?? deviceOfPrecision(decoder);
  const vision = visionPrecision ?? defaultVisionPrecision(decoder, device);
  const precision = { decoder, vision };
  checkPrecision(precision, device);
  const fromOutput = relative(resolve(options.outputDir), resolve(options.checkpointDir));
  if (fromOutput === "" || !(fromOutput.startsWith("..") || resolve(fromOutput) === fromOutput)) {
    throw new TypeError(
      "Expected `outputDir` to be outside the checkpoint's path, got the checkpoint itself or a directory around it.",
    );
  }
  return { precision, device };
}

/** The inputs of all products, in the format that was asked for. */
function productInputs(
  config: Qwen3VlConfig,
  { decoder, vision }: PackageManifest["precision"],
): InputsInPrecision[] {
  const text = decoderInputs(config);
  return [
    { precision: vision, inputs: visionInputs(config) },
    { precision: decoder, inputs: text.slice(0, -1) },
    { precision: headPrecision(decoder), inputs: text.slice(-1) },
  ].flatMap(({ precision, inputs }) => (isForCpu(precision) ? [{ precision, inputs }] : []));
}

/** Only there are inputs of products rounded; what a card multiplies has nothing to balance. */
function isForCpu(precision: ProductPrecision): precision is CpuPrecision {
  return precision === "fp32" || precision === "w8a8" || precision === "q4";
}

/** Nothing but an earlier package, however damaged, is ever replaced. */
async function assertReplaceable(dir: string): Promise<void> {
  if (await isMarkedAsPackage(dir)) return;
  throw new TypeError(
    `Expected \`outputDir\` to be new, empty or an earlier ONNX package, got ${dir} with other files in it.`,
  );
}

function describe(values: readonly GraphValue[]): Record<string, string> {
  return Object.fromEntries(
    values.map(({ name, type, shape }) => [name, `${type}[${shape.join(", ")}]`]),
  );
}

function tensorGroups(
  { decoder, vision }: PackageManifest["precision"],
  device: PackageDevice,
  embedTokens: string,
): Record<string, string> {
  const fourBits = `int4 per block of ${device === "webgpu" ? DEVICE_BLOCK : INT4_BLOCK}`;
  const formats: Record<ProductPrecision, string> = {
    fp32: "f32",
    fp16: "f16",
    bf16: "bf16",
    w8a8: "int8 per output channel, activations uint8 per token",
    q4: device === "cpu" ? `${fourBits}, activations int8` : fourBits,
    q4f32: `int4 per block of ${DEVICE_BLOCK}`,
    q4f16: `int4 per block of ${DEVICE_BLOCK}, activations f16`,
    q8: `int8 per block of ${DEVICE_BLOCK}`,
    q8f16: `int8 per block of ${DEVICE_BLOCK}, activations f16`,
  };
  return {
    "vision linear layers": formats[vision],
    "vision patch embedding, position table, norms": "f32",
    "decoder linear layers": formats[decoder],
    "decoder head": formats[headPrecision(decoder, device === "webgpu")],
    "decoder norms": isDevicePrecision(decoder) ? "f16" : "f32",
    "embedding table": isDevicePrecision(decoder) ? "f16 in the graph" : embedTokens,
  };
}
