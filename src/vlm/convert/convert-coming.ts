// A conversion while the shards come: each is written into the package when it is here, and goes before the next one
// comes. In: a checkpoint whose shards can be fetched. Out: the package, with the same bytes as a conversion of the whole
// checkpoint; whatever ends the process, the next one goes on from there. It knows no network.

import { join } from "node:path";
import { z } from "zod";
import { disk } from "../../disk.ts";
import { type Checkpoint, openCheckpoint } from "../checkpoint/open-checkpoint.ts";
import { Safetensors, type StoredTensor, type TensorBytes } from "../checkpoint/safetensors.ts";
import {
  assertHeader,
  type ComingCheckpoint,
  type ComingShard,
  comingTensors,
} from "./coming-shards.ts";
import { Conversion } from "./conversion.ts";
import { type ConversionMark, DamagedWork, readMark } from "./conversion-mark.ts";
import { ConversionPlan, SMALL_FILES_BYTES } from "./conversion-plan.ts";
import { assertReplaceable } from "./convert.ts";
import type { ConvertOptions, PackageFormats } from "./convert-options.ts";
import { INT8_WEIGHTS, type Int8Weights, PRECISIONS } from "./linear-layers.ts";
import { CONVERTER_VERSION, isMarkedAsPackage, MANIFEST_FILE, readManifest } from "./manifest.ts";
import { PACKAGE_DEVICES } from "./package-graphs.ts";
import { peakBytes, type ShardRoom } from "./peak-bytes.ts";
import { ShardStock } from "./shard-stock.ts";
import { SourceFiles } from "./source-files.ts";
import { StagingDirectory } from "./staging.ts";
import { VISION_PRECISIONS } from "./vision-graph.ts";

export interface ConvertComingOptions extends Pick<ConvertOptions, "signal" | "onProgress"> {
  readonly outputDir: string;
  /** Everything that is not finished, on the same disk as `outputDir`; nothing else is in it. */
  readonly workDir: string;
  readonly formats: PackageFormats;
  readonly int8Weights: Int8Weights;
  /** Called before anything large is fetched, with what the disk will have to take. */
  readonly onRoom?: ((bytes: number) => void) | undefined;
}

/**
 * Converts shard by shard.
 *
 * @returns false, with nothing fetched but headers, where that is not possible or saves no room: weights whose form shows
 *   in their contents only, files that can be had as a whole only
 * @throws as `convertCheckpoint`, and whatever fetching throws
 */
export async function convertComing(
  coming: ComingCheckpoint,
  options: ConvertComingOptions,
): Promise<boolean> {
  const { outputDir, workDir } = options;
  if (await disk.isOccupied(outputDir)) await assertReplaceable(outputDir);
  const done = (await isDone(coming, options)) || (await convertOrRestart(coming, options));
  await disk.remove(workDir);
  return done;
}

async function convertOrRestart(
  coming: ComingCheckpoint,
  options: ConvertComingOptions,
): Promise<boolean> {
  try {
    return await new ComingConversion(coming, options).run();
  } catch (error) {
    if (!(error instanceof DamagedWork)) throw error;
    await disk.remove(options.workDir);
    return new ComingConversion(coming, options).run();
  }
}

/** A process may end between the package and whatever its caller notes down. */
async function isDone(
  { shards }: ComingCheckpoint,
  { outputDir, formats, int8Weights }: ConvertComingOptions,
): Promise<boolean> {
  if (!(await isMarkedAsPackage(outputDir))) return false;
  const made = await readManifest(outputDir).catch(() => undefined);
  if (made === undefined || made.converterVersion !== CONVERTER_VERSION) return false;
  const isSame =
    made.device === formats.device &&
    made.precision.decoder === formats.precision.decoder &&
    made.precision.vision === formats.precision.vision &&
    made.int8Weights === int8Weights &&
    (made.adapters ?? []).length === 0;
  const inputs = new Map(made.inputs.map(({ file, sha256 }) => [file, sha256]));
  return (
    isSame &&
    shards.every(({ file, sha256 }) => sha256 !== undefined && inputs.get(file) === sha256)
  );
}

/** Whatever changes the bytes of a package: another text is another package. */
const KEY_FILE = "key.json";
const KEY = z.object({
  decoder: z.enum(PRECISIONS),
  vision: z.enum(VISION_PRECISIONS),
  device: z.enum(PACKAGE_DEVICES),
  int8Weights: z.enum(INT8_WEIGHTS),
});

/** In what formats an earlier process began a package of these shards, and did not end it. */
export async function begunFormats(
  workDir: string,
  shards: readonly ComingShard[],
): Promise<PackageFormats | undefined> {
  const text = await disk.readText(join(workDir, KEY_FILE)).catch(() => "");
  const found = KEY.safeParse(parsed(text));
  if (!found.success) return undefined;
  const { decoder, vision, device, int8Weights } = found.data;
  const formats = { precision: { decoder, vision }, device };
  return text === keyOf(formats, int8Weights, shards) ? formats : undefined;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function keyOf(
  { precision: { decoder, vision }, device }: PackageFormats,
  int8Weights: Int8Weights,
  shards: readonly ComingShard[],
): string {
  return JSON.stringify({
    converter: CONVERTER_VERSION,
    decoder,
    vision,
    device,
    int8Weights,
    shards,
  });
}

/** Contents of weights are asked for before any of them is here. */
class NeedsContents extends Error {}

class ComingConversion {
  readonly #coming: ComingCheckpoint;
  readonly #options: ConvertComingOptions;
  readonly #key: string;
  readonly #keptDir: string;
  readonly #packageDir: string;

  constructor(coming: ComingCheckpoint, options: ConvertComingOptions) {
    this.#coming = coming;
    this.#options = options;
    const { formats, int8Weights } = options;
    this.#key = keyOf(formats, int8Weights, coming.shards);
    this.#keptDir = join(options.workDir, "kept");
    this.#packageDir = join(options.workDir, "package");
  }

  async run(): Promise<boolean> {
    await this.#enter();
    const tensors = await comingTensors(this.#coming, this.#keptDir);
    if (tensors === undefined) return false;
    const bytes = new ComingBytes();
    const checkpoint = await this.#open(tensors, bytes);
    if (checkpoint === undefined) return false;
    try {
      const { formats, int8Weights } = this.#options;
      const plan = new ConversionPlan(checkpoint, formats, int8Weights);
      return await this.#convert(plan, tensors, bytes);
    } finally {
      await checkpoint.close();
    }
  }

  /** Nothing that was left of another package is gone on with. */
  async #enter(): Promise<void> {
    const { workDir } = this.#options;
    const path = join(workDir, KEY_FILE);
    const key = await disk.readText(path).catch(() => undefined);
    if (key !== this.#key) await disk.remove(workDir);
    await disk.makeDirectory(this.#keptDir);
    await disk.makeDirectory(this.#packageDir);
    if (key !== this.#key) await disk.replaceFile(path, this.#key);
  }

  /** @returns undefined for weights that cannot be read from their own tensors alone, in any order */
  async #open(
    tensors: readonly StoredTensor[],
    bytes: TensorBytes,
  ): Promise<Checkpoint | undefined> {
    const names = this.#coming.shards.map(({ file }) => file);
    const open = async (files: readonly string[]) =>
      new Safetensors(
        tensors.filter(({ file }) => files.includes(file)),
        bytes,
      );
    try {
      const checkpoint = await openCheckpoint(this.#coming.dir, { names, open });
      const isSimple = [...checkpoint.tensors.values()].every(({ parts }) => parts !== undefined);
      return isSimple ? checkpoint : undefined;
    } catch (error) {
      if (error instanceof NeedsContents) return undefined;
      throw error;
    }
  }

  async #convert(
    plan: ConversionPlan,
    tensors: readonly StoredTensor[],
    bytes: ComingBytes,
  ): Promise<boolean> {
    const { dir, shards } = this.#coming;
    const { workDir, outputDir, signal } = this.#options;
    const files = shards.map(({ file }) => file);
    const mark = await readMark(workDir);
    let conversion: Conversion | undefined;
    const stock = await ShardStock.open(
      {
        dir,
        keptDir: this.#keptDir,
        files,
        fetch: async (file) => {
          await this.#coming.fetch(file);
          await assertHeader(dir, this.#keptDir, file);
        },
        drop: (file) => this.#coming.drop(file),
        stream: { signal, onBytes: (count) => conversion?.advance(count) },
      },
      tensors,
    );
    bytes.stock = stock;
    if (!(await this.#hasRoom(plan, stock, mark))) return false;
    const source = await SourceFiles.of(plan.checkpoint, files);
    const weightBytes = shards.reduce((sum, shard) => sum + shard.bytes, 0);
    const parts = { stock, markDir: workDir, mark, weightBytes };
    conversion = new Conversion(plan, this.#packageDir, this.#options, parts);
    await conversion.run(source);
    await stock.close();
    const keyFile = MANIFEST_FILE;
    const staging = await StagingDirectory.of(this.#packageDir, outputDir, {
      assertReplaceable,
      keyFile,
    });
    await staging.publish(signal);
    return true;
  }

  /** @returns whether it takes less than all files at once @throws DiskError `full` */
  async #hasRoom(
    plan: ConversionPlan,
    stock: ShardStock,
    mark: ConversionMark | undefined,
  ): Promise<boolean> {
    const rooms = new Map<string, ShardRoom>();
    let all = plan.outputBytes();
    for (const { file } of this.#coming.shards) {
      const room = await this.#coming.room(file);
      rooms.set(file, room);
      all += room.toCome;
    }
    const taken = plan.tracks.map(([step]) => (step && mark?.tracks[step.part]?.steps) ?? 0);
    const peak = await peakBytes(plan, rooms, { kept: stock.keptTensors, taken });
    if (mark === undefined && peak >= all) return false;
    await disk.assertRoom(this.#options.workDir, peak + SMALL_FILES_BYTES);
    this.#options.onRoom?.(peak);
    return true;
  }
}

/** Of a checkpoint that is opened before there is a stock. */
class ComingBytes implements TensorBytes {
  stock: ShardStock | undefined;

  async read(tensor: StoredTensor, start: number, target: Uint8Array): Promise<void> {
    if (this.stock === undefined) throw new NeedsContents();
    await this.stock.read(tensor, start, target);
  }

  async close(): Promise<void> {
    await this.stock?.close();
  }
}
