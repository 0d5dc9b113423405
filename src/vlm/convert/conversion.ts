// One conversion: the files of a package from an open checkpoint, step by step, then the manifest. Where all weights are
// here it runs through; where they come one shard at a time it leaves a mark after each step, and goes on from there.
// Both give the same bytes: the steps and what is in them are the same, only their order differs.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { disk } from "../../disk.ts";
import { mendConfig } from "../checkpoint/config.ts";
import { readJsonFile } from "../checkpoint/json-fields.ts";
import type { Checkpoint } from "../checkpoint/open-checkpoint.ts";
import { EMBED_TOKENS } from "../checkpoint/tensor-names.ts";
import type { Weight } from "../checkpoint/weight.ts";
import { balanceBytes } from "./balance-inputs.ts";
import type { CacheFormat } from "./cached-attention.ts";
import { type ConversionMark, DamagedWork, writeMark } from "./conversion-mark.ts";
import type { ConversionPlan } from "./conversion-plan.ts";
import { type ConversionStep, type StepPart, stepLines, takeSteps } from "./conversion-steps.ts";
import type { ConvertOptions, ConvertStage } from "./convert-options.ts";
import { embeddingTableForm, writeEmbeddingTable } from "./embedding-file.ts";
import { type FileDigest, HashedFile, type StreamOptions } from "./hashed-file.ts";
import type { WiderFormats } from "./linear-layers.ts";
import {
  CONVERTER_VERSION,
  FORMAT_VERSION,
  type GraphEntry,
  MANIFEST_FILE,
  type PackageManifest,
  serializeManifest,
} from "./manifest.ts";
import { type GraphValue, ONNX_OPSET } from "./onnx-model.ts";
import { otherCacheFormats } from "./package-graphs.ts";
import { RowReader } from "./row-reader.ts";
import type { ShardStock } from "./shard-stock.ts";
import type { SourceDigests, SourceFiles } from "./source-files.ts";
import { StepMeasures } from "./step-measures.ts";
import { toldOfInt4 } from "./stored-int4.ts";
import { tensorGroups } from "./tensor-groups.ts";
import { TrackFile } from "./track-file.ts";
import type { PlannedGraph } from "./vision-graph.ts";
import { WeightWriter } from "./weight-writer.ts";

const FILES: Readonly<Record<StepPart, string>> = {
  "vision-encoder": "vision_encoder.onnx.data",
  decoder: "decoder.onnx.data",
  "embedding-table": "embed_tokens.bin",
};

/** Of a conversion whose weights come one shard at a time, and that outlives its process. */
export interface ComingShards {
  readonly stock: ShardStock;
  /** Where the mark is. */
  readonly markDir: string;
  /** What an earlier process did. */
  readonly mark: ConversionMark | undefined;
  /** Of all shards. */
  readonly weightBytes: number;
}

export class Conversion {
  readonly #plan: ConversionPlan;
  readonly #checkpoint: Checkpoint;
  readonly #dir: string;
  readonly #options: Pick<ConvertOptions, "signal" | "onProgress">;
  readonly #coming: ComingShards | undefined;
  readonly #stream: StreamOptions;
  readonly #tracks = new Map<StepPart, TrackFile>();
  readonly #writers = new Map<StepPart, WeightWriter>();
  readonly #outputs: FileDigest[] = [];
  #stage: ConvertStage = "hashing-checkpoint";
  #doneBytes = 0;
  #totalBytes = 0;

  /** @param dir where the package is made */
  constructor(
    plan: ConversionPlan,
    dir: string,
    options: Pick<ConvertOptions, "signal" | "onProgress">,
    coming?: ComingShards,
  ) {
    this.#plan = plan;
    this.#checkpoint = plan.checkpoint;
    this.#dir = dir;
    this.#options = options;
    this.#coming = coming;
    this.#stream = { signal: options.signal, onBytes: (bytes) => this.advance(bytes) };
  }

  /** @throws ModelLoadError, DiskError, the signal's reason; DamagedWork */
  async run(source: SourceFiles): Promise<void> {
    const weightBytes = this.#coming?.weightBytes ?? 0;
    const readBytes = source.totalBytes + weightBytes + this.#plan.balanceBytes;
    this.#totalBytes = readBytes + this.#plan.outputBytes();
    try {
      const digests = await source.hash(this.#stream);
      this.advance(this.#coming?.stock.hashedBytes ?? 0);
      await this.#resume();
      const { tracks } = this.#plan;
      const measures = new StepMeasures(this.#checkpoint, tracks, this.#stream, this.#coming?.mark);
      const reader = new RowReader(this.#checkpoint, measures.balance.moves);
      const take = async (step: ConversionStep) => {
        await this.#take(step, measures, reader, readBytes);
      };
      const taken = tracks.map(([step]) => (step && this.#tracks.get(step.part)?.steps) ?? 0);
      await takeSteps(this.#checkpoint, tracks, take, this.#coming?.stock, taken);
      await this.#finish(source, digests, measures.balance.wider);
    } finally {
      for (const track of this.#tracks.values()) await track.close();
    }
  }

  /** For whoever does a part of the work: bytes read or written. */
  advance(bytes: number): void {
    this.#doneBytes += bytes;
    this.#options.onProgress?.({
      stage: this.#stage,
      doneBytes: this.#doneBytes,
      totalBytes: this.#totalBytes,
    });
  }

  async #resume(): Promise<void> {
    for (const steps of this.#plan.tracks) {
      const [{ part } = { part: "decoder" as const }] = steps;
      const mark = this.#coming?.mark?.tracks[part];
      if (mark === undefined) continue;
      const path = join(this.#dir, FILES[part]);
      const track = await TrackFile.resume(path, mark, { signal: this.#stream.signal });
      if (track === undefined || mark.steps > steps.length) throw new DamagedWork();
      this.#tracks.set(part, track);
      const inputs = steps.slice(0, track.steps).flatMap((step) => step.inputs);
      this.advance(mark.bytes + balanceBytes(this.#checkpoint, inputs));
      if (track.steps === steps.length) await this.#close(part, track);
    }
  }

  async #take(
    step: ConversionStep,
    measures: StepMeasures,
    reader: RowReader,
    readBytes: number,
  ): Promise<void> {
    this.#stage = step.part;
    this.advance(0);
    const track = await this.#track(step.part);
    track.layers.push(...(await measures.measure(step)));
    if (step.part === "embedding-table") {
      await writeEmbeddingTable(this.#table, track.file);
    } else {
      const graphs = this.#plan.graphs(measures.balance.wider);
      this.#totalBytes = readBytes + this.#plan.outputBytes(graphs);
      const { plan } = step.part === "decoder" ? graphs.decoder : graphs.vision;
      await this.#writer(step.part, track, reader).write(stepLines(plan)[step.index] ?? []);
    }
    track.steps++;
    await this.#mark(measures);
    if (step.isLast) await this.#close(step.part, track);
  }

  async #track(part: StepPart): Promise<TrackFile> {
    const known = this.#tracks.get(part);
    if (known !== undefined) return known;
    const track = await TrackFile.create(join(this.#dir, FILES[part]), this.#stream);
    this.#tracks.set(part, track);
    return track;
  }

  #writer(part: StepPart, { file }: TrackFile, reader: RowReader): WeightWriter {
    const writer = this.#writers.get(part) ?? new WeightWriter(reader, file);
    this.#writers.set(part, writer);
    return writer;
  }

  /** Only then may go what the step read. */
  async #mark(measures: StepMeasures): Promise<void> {
    if (this.#coming === undefined) return;
    const tracks: ConversionMark["tracks"] = {};
    for (const [part, track] of this.#tracks) tracks[part] = await track.mark();
    await writeMark(this.#coming.markDir, { formatVersion: 1, tracks, ...measures.mark });
  }

  async #close(part: StepPart, track: TrackFile): Promise<void> {
    this.#writers.delete(part);
    this.#outputs.push(await track.finish());
    if (part !== "embedding-table") return;
    // The table has the numbers of plain weights as they are stored: from now on they are read there.
    const { plain } = this.#table;
    if (plain !== undefined) await this.#coming?.stock.isAlsoIn(track.path, plain);
  }

  get #table(): Weight {
    const weight = this.#checkpoint.tensors.get(EMBED_TOKENS);
    if (weight === undefined) throw new RangeError(`The checkpoint has no ${EMBED_TOKENS}.`);
    return weight;
  }

  async #finish(source: SourceFiles, digests: SourceDigests, wider: WiderFormats): Promise<void> {
    const { vision, decoder } = this.#plan.graphs(wider);
    this.#stage = "finishing";
    this.advance(0);
    const visionEncoder = await this.#writeGraph(vision);
    const decoderEntry = await this.#writeGraph(decoder);
    const cacheDecoders = await this.#writeCacheDecoders(decoderEntry.dataFile, wider);
    for (const file of this.#checkpoint.settingsFiles) {
      await this.#writeFile(file, await this.#settingsBytes(file));
    }
    await source.assertUnchanged();
    const { precision, device } = this.#plan.formats;
    const table = { file: FILES["embedding-table"], ...embeddingTableForm(this.#table) };
    const manifest = serializeManifest({
      formatVersion: FORMAT_VERSION,
      converterVersion: CONVERTER_VERSION,
      opset: ONNX_OPSET,
      source: this.#checkpoint.source,
      assumptions: [
        ...this.#checkpoint.assumptions,
        ...toldOfInt4(this.#checkpoint, this.#plan.formats),
      ],
      precision,
      device,
      int8Weights: this.#plan.int8Weights,
      tensorGroups: tensorGroups(precision, device, table.dtype, this.#storedBy()),
      inputs: await this.#inputs(digests),
      adapters: digests.adapters,
      layers: [...this.#layers("vision-encoder"), ...this.#layers("decoder")],
      visionEncoder,
      decoder: decoderEntry,
      cacheDecoders,
      embedTokens: table,
      outputs: this.#outputs.toSorted((a, b) => (a.file < b.file ? -1 : 1)),
    });
    await disk.replaceFile(join(this.#dir, MANIFEST_FILE), manifest);
  }

  /** Of the files that are here, and of the shards that came. */
  async #inputs({ inputs }: SourceDigests): Promise<SourceDigests["inputs"]> {
    const stock = this.#coming?.stock;
    return stock === undefined ? inputs : [...inputs, ...(await stock.allDigests())];
  }

  #layers(part: StepPart) {
    return this.#tracks.get(part)?.layers ?? [];
  }

  /** Graphs without weights of their own. */
  async #writeCacheDecoders(
    dataFile: string,
    wider: WiderFormats,
  ): Promise<PackageManifest["cacheDecoders"]> {
    const { precision, device } = this.#plan.formats;
    const entries: [CacheFormat, GraphEntry][] = [];
    for (const format of otherCacheFormats(precision.decoder, device)) {
      const { decoder } = this.#plan.graphs(wider, format);
      const file = `${decoder.model.name}.${format}-cache.onnx`;
      entries.push([format, await this.#writeGraph(decoder, file, dataFile)]);
    }
    return Object.fromEntries(entries);
  }

  async #writeGraph(
    { model }: PlannedGraph,
    file = `${model.name}.onnx`,
    dataFile = `${file}.data`,
  ): Promise<GraphEntry> {
    await this.#writeFile(file, model.serialize(dataFile, CONVERTER_VERSION));
    return { file, dataFile, inputs: describe(model.inputs), outputs: describe(model.outputs) };
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
    const path = join(this.#dir, file);
    await disk.remove(path);
    const output = await HashedFile.create(path, { signal: this.#stream.signal });
    try {
      await output.append(bytes);
      this.#outputs.push(await output.finish());
    } finally {
      await output.close();
    }
  }

  #storedBy(): string | undefined {
    const [name] = this.#plan.stored.keys();
    return name === undefined ? undefined : this.#checkpoint.tensors.get(name)?.quantized;
  }
}

function describe(values: readonly GraphValue[]): Record<string, string> {
  return Object.fromEntries(
    values.map(({ name, type, shape }) => [name, `${type}[${shape.join(", ")}]`]),
  );
}
