// The files of one revision, from wherever they can be had. In: a hub, a listing, a directory. Out: all of them there, every
// one with the hash that the hub names. What is here already, in earlier snapshots or other programs' caches, is not
// fetched. The hash of one file of weights is computed while the next one comes.

import { lstat, readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { startDeadline } from "../../abort.ts";
import { disk } from "../../disk.ts";
import { readShardIndex } from "../checkpoint/safetensors.ts";
import type { ComingCheckpoint } from "../convert/coming-shards.ts";
import type { ShardRoom } from "../convert/peak-bytes.ts";
import { PullError } from "../errors.ts";
import type { ForeignFiles, ForeignLayout } from "../foreign/foreign-files.ts";
import { runAtOnce } from "./at-once.ts";
import { downloadBeginning, downloadFile, type FileSource } from "./download-file.ts";
import type { ExistingFiles } from "./existing-files.ts";
import { matches } from "./file-digest.ts";
import type { Hub, HubContext, ListedFile, Listing } from "./hub.ts";
import type { JsonAnswer } from "./json-answer.ts";
import { indexedWeights, isAdapter, listedFiles, neededFiles } from "./needed-files.ts";
import { PartialFile } from "./partial-file.ts";
import { PullMeter, type PullProgress } from "./pull-progress.ts";

export interface FetchRequest {
  readonly model: string;
  /** undefined: nobody is asked, everything has to be here. */
  readonly hub: Hub | undefined;
  readonly host: string;
  readonly listing: Listing;
  /** Where the files go. */
  readonly dir: string;
  readonly existing: ExistingFiles;
  readonly context: HubContext;
  readonly connections: number;
  readonly onProgress: (progress: PullProgress) => void;
  /**
   * Called when the settings are here, before any weights: makes the package while they come.
   *
   * @returns where it is; undefined where all files have to be here first
   */
  readonly convert: (weights: ComingWeights) => Promise<string | undefined>;
  /** Which files of a package that another program made are wanted, in order; called when its settings are here. */
  readonly choose: (files: ForeignFiles) => Promise<readonly string[]>;
  /** Bytes that a package of this many bytes of weights takes. */
  readonly packageBytes: (weightBytes: number) => number;
}

/** Weights that come one file at a time. */
export interface ComingWeights extends Omit<ComingCheckpoint, "shards"> {
  readonly files: readonly ListedFile[];
}

export interface FetchedFiles {
  readonly files: readonly ListedFile[];
  /** Not of a LoRA, and not of a package that another program made. */
  readonly isConvertible: boolean;
  /** Made while the weights came, which are gone. */
  readonly packageDir?: string | undefined;
}

/** Small files at once. */
const SMALL_AT_ONCE = 4;

/** @throws PullError, DiskError, the signal's reason */
export async function fetchFiles(request: FetchRequest): Promise<FetchedFiles> {
  await disk.makeDirectory(request.dir);
  // One file that fails for good ends the others.
  const stop = startDeadline(undefined, request.context.signal);
  const context = { ...request.context, signal: stop.signal };
  try {
    return await fetchAll({ ...request, context }, stop.abort);
  } finally {
    stop.end();
  }
}

async function fetchAll(
  request: FetchRequest,
  abort: (reason: unknown) => void,
): Promise<FetchedFiles> {
  const { listing, model, host, dir, onProgress } = request;
  const needed = neededFiles(listing, model, host);
  const { settings, index, foreign } = needed;
  // Nobody knows how much there is before these are here.
  const first = foreign === undefined ? [index].filter((file) => file !== undefined) : settings;
  await new Fetching(request, new PullMeter(sum(first), () => {}), abort).provideAtOnce(first);
  let { weights } = needed;
  if (index !== undefined) {
    weights = indexedWeights((await readShardIndex(dir)).values(), listing, host);
  } else if (foreign !== undefined) {
    const name = `${model} on ${host}`;
    weights = listedFiles(await request.choose({ directory: dir, name, ...foreign }), listing);
  }
  const files = [...settings, ...weights];
  const fetching = new Fetching(request, new PullMeter(sum(files), onProgress), abort);
  await fetching.provideAtOnce(settings);
  const isConvertible = foreign === undefined && !isAdapter({ weights });
  const packageDir = isConvertible
    ? await request.convert(comingWeights(request, weights, fetching))
    : undefined;
  if (packageDir !== undefined) return { files, isConvertible, packageDir };
  await assertRoom(request, weights, foreign?.layout);
  await fetching.provideInOrder(weights);
  return { files, isConvertible };
}

class Fetching {
  readonly #request: FetchRequest;
  readonly #meter: PullMeter;
  readonly #abort: (reason: unknown) => void;
  /** Snapshots of other revisions, and of other hubs. */
  #others: Promise<readonly string[]> | undefined;

  constructor(request: FetchRequest, meter: PullMeter, abort: (reason: unknown) => void) {
    this.#request = request;
    this.#meter = meter;
    this.#abort = abort;
  }

  /** Small ones. */
  async provideAtOnce(files: readonly ListedFile[]): Promise<void> {
    await runAtOnce(SMALL_AT_ONCE, files, (file) => this.provide(file), this.#abort);
  }

  /** Large ones: the next begins when all bytes of this one are here, while they are hashed. */
  async provideInOrder(files: readonly ListedFile[]): Promise<void> {
    const hashing: Promise<void>[] = [];
    try {
      for (const file of files) {
        this.#request.context.signal.throwIfAborted();
        await new Promise<void>((resolve, reject) => {
          const whole = this.provide(file, resolve);
          hashing.push(whole);
          whole.then(resolve, (error) => {
            this.#abort(error);
            reject(error);
          });
        });
      }
      await Promise.all(hashing);
    } finally {
      await Promise.allSettled(hashing);
    }
  }

  /** @param onCame all bytes are here, and are hashed now */
  async provide(file: ListedFile, onCame: () => void = () => {}): Promise<void> {
    const { dir, context } = this.#request;
    const path = join(dir, file.path);
    await disk.makeDirectory(dirname(path));
    const onVerified = (bytes: number) => this.#meter.verified(file, bytes);
    const { signal } = context;
    if (await matches(path, file, { signal, onBytes: onVerified })) {
      return this.found(file);
    }
    if (await this.#takeExisting(file, path, onVerified)) return;
    await this.#download(file, path, { onVerified, onCame });
  }

  /** One that was here, and may be gone again. */
  found(file: ListedFile): void {
    this.#meter.found(file, file.size);
  }

  /** @returns undefined where only whole files can be had */
  async beginning(file: ListedFile, end: number): Promise<Buffer | undefined> {
    const { dir, context } = this.#request;
    const path = join(dir, file.path);
    if ((await disk.fileSize(path)) === file.size) return firstBytes(path, end);
    return downloadBeginning(this.#source(file), path, file, { end, context });
  }

  async #takeExisting(
    file: ListedFile,
    path: string,
    onVerified: (bytes: number) => void,
  ): Promise<boolean> {
    const { existing, context } = this.#request;
    const { signal } = context;
    this.#others ??= otherSnapshots(this.#request.dir);
    const others = (await this.#others).map((other) => join(other, file.path));
    const found = await existing.provide(file, path, { signal, onBytes: onVerified }, others);
    if (found) this.#meter.found(file, file.size);
    else for (const other of others) await PartialFile.adopt(other, path, file);
    return found;
  }

  async #download(
    file: ListedFile,
    path: string,
    hooks: { readonly onVerified: (bytes: number) => void; readonly onCame: () => void },
  ): Promise<void> {
    const { context, connections } = this.#request;
    let isFirst = true;
    await downloadFile(this.#source(file), path, file, {
      context,
      connections,
      ...hooks,
      onBytes: (bytes) => {
        if (isFirst) this.#meter.found(file, bytes);
        else this.#meter.came(file, bytes);
        isFirst = false;
      },
    });
  }

  #source(file: ListedFile): FileSource {
    const { hub, model, listing, host } = this.#request;
    if (hub === undefined) {
      throw new PullError(
        "hub-unreachable",
        `${file.path} of ${model} is in no cache here, and no hub may or can be asked.`,
        { host, file: file.path },
      );
    }
    return {
      url: hub.fileUrl(model, listing.ref, file.path),
      otherUrl: listing.otherRef && hub.fileUrl(model, listing.otherRef, file.path),
      basePath: hub.basePath,
      credentials: { origin: hub.origin, headers: hub.credentials },
      refusal: (answer: JsonAnswer) => hub.refusal(model, answer),
    };
  }
}

async function firstBytes(path: string, end: number): Promise<Buffer> {
  const file = await disk.open(path, "r");
  try {
    return (await file.read(Buffer.alloc(end), 0, end, 0)).buffer;
  } finally {
    await file.close();
  }
}

async function otherSnapshots(dir: string): Promise<string[]> {
  const parent = dirname(dir);
  const names = await readdir(parent).catch(() => []);
  return names.map((name) => join(parent, name)).filter((path) => path !== dir);
}

function comingWeights(
  request: FetchRequest,
  files: readonly ListedFile[],
  fetching: Fetching,
): ComingWeights {
  const { dir } = request;
  const listed = new Map(files.map((file) => [file.path, file]));
  const named = (path: string): ListedFile => {
    const file = listed.get(path);
    if (file === undefined) throw new RangeError(`${path} is none of the weights.`);
    return file;
  };
  const counted = new Set<string>();
  return {
    dir,
    files,
    beginning: (path, bytes) => fetching.beginning(named(path), bytes),
    room: (path) => roomOf(request, named(path)),
    fetch: async (path) => {
      counted.add(path);
      await fetching.provide(named(path));
    },
    drop: async (path) => {
      if (!counted.has(path)) fetching.found(named(path));
      counted.add(path);
      await disk.remove(join(dir, path));
      await PartialFile.discard(join(dir, path));
    },
  };
}

/** What the disk has to take for a file, and what it gives back without it; nothing where the file is a link. */
async function roomOf({ dir, existing }: FetchRequest, file: ListedFile): Promise<ShardRoom> {
  const path = join(dir, file.path);
  const there = await lstat(path).catch(() => undefined);
  if (there?.isFile() && there.size === file.size) {
    return { toCome: 0, comesBack: there.nlink > 1 ? 0 : file.size };
  }
  const isLink = there?.isSymbolicLink() === true;
  if (isLink || (await existing.seemsToHave(file))) return { toCome: 0, comesBack: 0 };
  const left = await PartialFile.bytesLeft(path, file);
  return { toCome: file.size - left, comesBack: file.size };
}

/** What has yet to come, and the package, before the first large file is begun. */
async function assertRoom(
  request: FetchRequest,
  weights: readonly ListedFile[],
  layout?: ForeignLayout,
): Promise<void> {
  let missing = 0;
  for (const file of weights) missing += (await roomOf(request, file)).toCome;
  const totalBytes = sum(weights);
  const diskBytes = missing + request.packageBytes(totalBytes);
  await disk.assertRoom(request.dir, diskBytes);
  const files = weights.length;
  const made = layout === undefined ? {} : { layout };
  request.onProgress({ type: "plan", oneByOne: false, files, totalBytes, diskBytes, ...made });
}

function sum(files: readonly ListedFile[]): number {
  return files.reduce((bytes, { size }) => bytes + size, 0);
}
