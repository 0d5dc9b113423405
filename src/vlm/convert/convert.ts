// Checkpoint in, ONNX package out: two graphs with their weights, the embedding table, settings and tokenizer
// files, and a manifest. Streams tensor by tensor; the same checkpoint gives the same bytes; a run that ends
// early leaves nothing that loads.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { disk } from "../../disk.ts";
import { DiskError } from "../../disk-error.ts";
import { withAdapters } from "../checkpoint/adapters.ts";
import { mendConfig } from "../checkpoint/config.ts";
import { readJsonFile } from "../checkpoint/json-fields.ts";
import { type Checkpoint, openCheckpoint } from "../checkpoint/open-checkpoint.ts";
import { EMBED_TOKENS } from "../checkpoint/tensor-names.ts";
import { balanceBytes, balanceInputs, type InputsInPrecision } from "./balance-inputs.ts";
import {
  type ConvertOptions,
  type ConvertStage,
  type PackageFormats,
  packageFormats,
} from "./convert-options.ts";
import { withDiskTrouble, withNeededBytes } from "./disk-trouble.ts";
import { embeddingTableBytes, writeEmbeddingTable } from "./embedding-file.ts";
import { type FileDigest, HashedFile, type StreamOptions } from "./hashed-file.ts";
import type { WiderFormats } from "./linear-layers.ts";
import {
  CONVERTER_VERSION,
  FORMAT_VERSION,
  type GraphEntry,
  isMarkedAsPackage,
  MANIFEST_FILE,
  type PackageManifest,
  readManifest,
  serializeManifest,
} from "./manifest.ts";
import { measuredInputs } from "./measured-inputs.ts";
import { type GraphValue, ONNX_OPSET } from "./onnx-model.ts";
import { packageGraphs } from "./package-graphs.ts";
import { RowReader } from "./row-reader.ts";
import { SourceFiles } from "./source-files.ts";
import { StagingDirectory } from "./staging.ts";
import { type StoredInt4, storedInt4, toldOfInt4, widerBesideStored } from "./stored-int4.ts";
import { tensorGroups } from "./tensor-groups.ts";
import type { PlannedGraph } from "./vision-graph.ts";
import { WeightWriter } from "./weight-writer.ts";

const EMBED_TOKENS_FILE = "embed_tokens.bin";
/** Graphs without their weights, and the manifest. */
const SMALL_FILES_BYTES = 4 * 2 ** 20;

interface PlannedGraphs {
  readonly vision: PlannedGraph;
  readonly decoder: PlannedGraph;
}

/**
 * Converts a checkpoint.
 *
 * @throws ModelLoadError when the checkpoint cannot be used, or the disk is full (`disk-full`, before anything is
 *   written where the system tells how much is free), read-only (`not-writable`) or the package held by another
 *   program for most of a minute (`files-held`); TypeError for wrong options; the signal's own reason when aborted
 */
export async function convertCheckpoint(options: ConvertOptions): Promise<PackageManifest> {
  const formats = packageFormats(options);
  options.signal?.throwIfAborted();
  return await withDiskTrouble(options.checkpointDir, () => convertTo(formats, options));
}

async function convertTo(
  formats: PackageFormats,
  options: ConvertOptions,
): Promise<PackageManifest> {
  const base = await openCheckpoint(options.checkpointDir);
  let checkpoint = base;
  try {
    checkpoint = await withAdapters(base, options.adapters ?? []);
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
  readonly #formats: PackageFormats;
  readonly #options: ConvertOptions;
  readonly #stream: StreamOptions;
  readonly #outputs: FileDigest[] = [];
  #stored: StoredInt4 = new Map();
  #stage: ConvertStage = "hashing-checkpoint";
  #doneBytes = 0;
  #totalBytes = 0;

  constructor(
    checkpoint: Checkpoint,
    dir: string,
    formats: PackageFormats,
    options: ConvertOptions,
  ) {
    this.#checkpoint = checkpoint;
    this.#dir = dir;
    this.#formats = formats;
    this.#options = options;
    this.#stream = { signal: options.signal, onBytes: (bytes) => this.#advance(bytes) };
  }

  async run(): Promise<void> {
    this.#stored = storedInt4(this.#checkpoint, this.#formats);
    const measured = measuredInputs(this.#checkpoint.config, this.#formats, this.#stored);
    const source = await SourceFiles.of(this.#checkpoint);
    const readBytes = source.totalBytes + balanceBytes(this.#checkpoint, measured);
    const outputBytes = this.#outputBytes(this.#plan());
    this.#totalBytes = readBytes + outputBytes;
    const neededBytes = outputBytes + source.settingsBytes + SMALL_FILES_BYTES;
    await disk.assertRoom(this.#dir, neededBytes);
    try {
      await this.#write(source, measured, readBytes);
    } catch (error) {
      throw withNeededBytes(error, neededBytes, this.#options.outputDir);
    }
  }

  #plan(wider?: WiderFormats): PlannedGraphs {
    const { precision, device } = this.#formats;
    const int8Weights = this.#options.int8Weights ?? "s8";
    const besides = widerBesideStored(this.#checkpoint, this.#formats, this.#stored);
    return packageGraphs(this.#checkpoint.config, precision, device, {
      int8Weights,
      wider: new Map([...besides, ...(wider ?? [])]),
      stored: this.#stored,
    });
  }

  #outputBytes({ vision, decoder }: PlannedGraphs): number {
    const table = this.#checkpoint.tensors.get(EMBED_TOKENS);
    const tableBytes = table === undefined ? 0 : embeddingTableBytes(table);
    return vision.model.externalByteLength + decoder.model.externalByteLength + tableBytes;
  }

  async #write(
    source: SourceFiles,
    measured: readonly InputsInPrecision[],
    readBytes: number,
  ): Promise<void> {
    const { inputs, adapters } = await source.hash(this.#stream);
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
    await source.assertUnchanged();
    await this.#writeManifest({
      inputs,
      adapters,
      layers,
      visionEncoder,
      decoder: decoderEntry,
      embedTokens,
    });
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

  async #writeEmbeddingTable(): Promise<PackageManifest["embedTokens"]> {
    const weight = this.#checkpoint.tensors.get(EMBED_TOKENS);
    if (weight === undefined) throw new RangeError(`The checkpoint has no ${EMBED_TOKENS}.`);
    const table = await HashedFile.create(join(this.#dir, EMBED_TOKENS_FILE), this.#stream);
    try {
      const form = await writeEmbeddingTable(weight, table);
      this.#outputs.push(await table.finish());
      return { file: EMBED_TOKENS_FILE, ...form };
    } finally {
      await table.close();
    }
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
    parts: Pick<
      PackageManifest,
      "inputs" | "adapters" | "layers" | "visionEncoder" | "decoder" | "embedTokens"
    >,
  ): Promise<void> {
    const { precision, device } = this.#formats;
    const manifest = serializeManifest({
      formatVersion: FORMAT_VERSION,
      converterVersion: CONVERTER_VERSION,
      opset: ONNX_OPSET,
      source: this.#checkpoint.source,
      assumptions: [
        ...this.#checkpoint.assumptions,
        ...toldOfInt4(this.#checkpoint, this.#formats),
      ],
      precision,
      device,
      int8Weights: this.#options.int8Weights ?? "s8",
      tensorGroups: tensorGroups(precision, device, parts.embedTokens.dtype, this.#storedBy()),
      ...parts,
      outputs: this.#outputs.toSorted((a, b) => (a.file < b.file ? -1 : 1)),
    });
    await disk.replaceFile(join(this.#dir, MANIFEST_FILE), manifest);
  }

  #storedBy(): string | undefined {
    const [name] = this.#stored.keys();
    return name === undefined ? undefined : this.#checkpoint.tensors.get(name)?.quantized;
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
