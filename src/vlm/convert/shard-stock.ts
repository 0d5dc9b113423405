// The shards of a checkpoint while they come, one at a time. In: who fetches a shard, and which tensors are still read. Out:
// bytes of stored tensors. Of a shard that has to go, what is read later stays behind, each tensor in a small file of
// its own with its hash behind it: so a process that is killed finds all of it again. Knows no network and no model.

import { createHash } from "node:crypto";
import { type FileHandle, readdir } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { disk } from "../../disk.ts";
import { readFully, type StoredTensor, type TensorBytes } from "../checkpoint/safetensors.ts";
import type { WeightStock } from "./conversion-steps.ts";
import { fingerprintFile, HashedFile, type StreamOptions, sha256File } from "./hashed-file.ts";
import type { InputDigest } from "./manifest.ts";

export interface ShardStockOptions {
  /** Where the shards come to. */
  readonly dir: string;
  /** Where what is kept of them goes. */
  readonly keptDir: string;
  readonly files: readonly string[];
  /** Resolves when the whole file is in `dir` and its hash was right. */
  readonly fetch: (file: string) => Promise<void>;
  /** Removes a shard, and what there is of one. */
  readonly drop: (file: string) => Promise<void>;
  readonly stream: StreamOptions;
}

/** Where the bytes of a tensor are, other than in its shard. */
interface Place {
  readonly tensor: StoredTensor;
  readonly handle: FileHandle;
  readonly path: string;
  /** It is part of something else, and stays. */
  readonly isForeign: boolean;
}

const DIGEST = z.object({
  file: z.string(),
  bytes: z.int().min(0),
  sha256: z.string(),
  fingerprint: z.string(),
});
const HASH_BYTES = 32;
const DIGEST_ENDING = ".digest.json";
const TENSOR_ENDING = ".tensor";

export class ShardStock implements TensorBytes, WeightStock {
  readonly #options: ShardStockOptions;
  readonly #held = new Map<string, FileHandle>();
  readonly #kept = new Map<string, Place>();
  readonly #dropped = new Set<string>();
  readonly #digests = new Map<string, InputDigest>();

  private constructor(options: ShardStockOptions) {
    this.#options = options;
  }

  /** Finds what an earlier process kept. */
  static async open(
    options: ShardStockOptions,
    tensors: Iterable<StoredTensor>,
  ): Promise<ShardStock> {
    const stock = new ShardStock(options);
    await disk.makeDirectory(options.keptDir);
    for (const file of options.files) await stock.#readDigest(file);
    const there = new Set(await readdir(options.keptDir));
    for (const tensor of tensors) {
      if (there.has(keptName(tensor))) await stock.#takeUp(tensor);
    }
    return stock;
  }

  /** Of the shards that came in earlier processes too. */
  get hashedBytes(): number {
    return [...this.#digests.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Of every shard, in their order; one that nothing was read of comes for it. */
  async allDigests(): Promise<InputDigest[]> {
    for (const file of this.#options.files) {
      if (this.#digests.has(file)) continue;
      await this.#options.fetch(file);
      await this.#writeDigest(file);
      await this.#drop(file);
    }
    return this.#options.files.flatMap((file) => this.#digests.get(file) ?? []);
  }

  /** What an earlier shard left behind. */
  get keptTensors(): readonly StoredTensor[] {
    return [...this.#kept.values()].flatMap(({ tensor }) => tensor);
  }

  isHere(tensors: readonly StoredTensor[]): boolean {
    return tensors.every(({ name, file }) => this.#kept.has(name) || this.#held.has(file));
  }

  /** @throws what `fetch` throws */
  async bring(tensors: readonly StoredTensor[], remaining: readonly StoredTensor[]): Promise<void> {
    const missing = tensors.filter((tensor) => !this.isHere([tensor]));
    for (const file of new Set(missing.map((tensor) => tensor.file))) {
      for (const other of [...this.#held.keys()]) await this.#retire(other, remaining);
      await this.#options.fetch(file);
      await this.#writeDigest(file);
      this.#held.set(file, await disk.open(join(this.#options.dir, file), "r"));
    }
  }

  /** Lets go of shards and tensors that nobody reads any more. */
  async keepOnly(remaining: readonly StoredTensor[]): Promise<void> {
    const names = new Set(remaining.map(({ name }) => name));
    for (const [name, place] of [...this.#kept]) {
      if (!names.has(name)) await this.#forget(place);
    }
    const files = new Set(
      remaining.flatMap((each) => (this.#kept.has(each.name) ? [] : each.file)),
    );
    for (const file of this.#options.files) {
      if (!files.has(file)) await this.#drop(file);
    }
  }

  /** A tensor is in another file too, from its first byte on, and is read there from now on. */
  async isAlsoIn(path: string, tensor: StoredTensor): Promise<void> {
    const before = this.#kept.get(tensor.name);
    if (before !== undefined) await this.#forget(before);
    const handle = await disk.open(path, "r");
    this.#kept.set(tensor.name, { tensor, handle, path, isForeign: true });
  }

  async read(tensor: StoredTensor, start: number, target: Uint8Array): Promise<void> {
    const place = this.#kept.get(tensor.name);
    if (place !== undefined) return readFully(place.handle, target, start, tensor.name);
    const handle = this.#held.get(tensor.file);
    if (handle === undefined) throw new RangeError(`${tensor.file} is not here yet.`);
    return readFully(handle, target, tensor.offset + start, tensor.file);
  }

  async close(): Promise<void> {
    for (const handle of this.#held.values()) await handle.close();
    for (const { handle } of this.#kept.values()) await handle.close();
    this.#held.clear();
    this.#kept.clear();
  }

  /** Keeps what is still read of a shard, then drops it. */
  async #retire(file: string, remaining: readonly StoredTensor[]): Promise<void> {
    for (const tensor of remaining) {
      if (tensor.file === file && !this.#kept.has(tensor.name)) await this.#keep(tensor);
    }
    await this.#drop(file);
  }

  async #keep(tensor: StoredTensor): Promise<void> {
    const path = this.#keptPath(tensor);
    const fresh = `${path}.new`;
    await disk.remove(fresh);
    const file = await HashedFile.create(fresh, { signal: this.#options.stream.signal });
    try {
      const piece = new Uint8Array(Math.min(2 ** 21, tensor.byteLength));
      for (let start = 0; start < tensor.byteLength; start += piece.byteLength) {
        const part = piece.subarray(0, Math.min(piece.byteLength, tensor.byteLength - start));
        await this.read(tensor, start, part);
        await file.append(part);
      }
      await file.append(Buffer.from((await file.mark()).sha256, "hex"));
      await file.finish();
    } finally {
      await file.close();
    }
    await disk.moveFile(fresh, path);
    await this.#takeUp(tensor);
  }

  /** A kept tensor that is damaged, or of another length, counts as none: its shard comes again. */
  async #takeUp(tensor: StoredTensor): Promise<void> {
    const path = this.#keptPath(tensor);
    const handle = await disk.open(path, "r");
    const isWhole = (await handle.stat()).size === tensor.byteLength + HASH_BYTES;
    const hash = createHash("sha256");
    const piece = new Uint8Array(2 ** 21);
    for (let start = 0; isWhole && start < tensor.byteLength; start += piece.byteLength) {
      const part = piece.subarray(0, Math.min(piece.byteLength, tensor.byteLength - start));
      await readFully(handle, part, start, tensor.name);
      hash.update(part);
    }
    const said = Buffer.alloc(HASH_BYTES);
    if (isWhole) await readFully(handle, said, tensor.byteLength, tensor.name);
    if (isWhole && hash.digest().equals(said)) {
      this.#kept.set(tensor.name, { tensor, handle, path, isForeign: false });
      return;
    }
    await handle.close();
    await disk.remove(path);
  }

  async #forget({ tensor, handle, path, isForeign }: Place): Promise<void> {
    this.#kept.delete(tensor.name);
    await handle.close();
    if (!isForeign) await disk.remove(path);
  }

  async #drop(file: string): Promise<void> {
    const handle = this.#held.get(file);
    if (handle === undefined && this.#dropped.has(file)) return;
    this.#held.delete(file);
    this.#dropped.add(file);
    await handle?.close();
    await this.#options.drop(file);
  }

  async #writeDigest(file: string): Promise<void> {
    this.#dropped.delete(file);
    // It came before, and has the same hash.
    if (this.#digests.has(file)) return;
    const path = join(this.#options.dir, file);
    const digest = await sha256File(path, this.#options.stream);
    const whole = { ...digest, file, fingerprint: await fingerprintFile(path) };
    await disk.replaceFile(this.#digestPath(file), JSON.stringify(whole));
    this.#digests.set(file, whole);
  }

  async #readDigest(file: string): Promise<void> {
    const text = await disk.readText(this.#digestPath(file)).catch(() => undefined);
    if (text === undefined) return;
    const found = DIGEST.safeParse(parsed(text));
    if (found.success && found.data.file === file) this.#digests.set(file, found.data);
  }

  #digestPath(file: string): string {
    return join(this.#options.keptDir, `${file}${DIGEST_ENDING}`);
  }

  #keptPath(tensor: StoredTensor): string {
    return join(this.#options.keptDir, keptName(tensor));
  }
}

/** Names of tensors are long, and hold what some disks do not take. */
function keptName({ name }: StoredTensor): string {
  return `${createHash("sha256").update(name).digest("hex").slice(0, 24)}${TENSOR_ENDING}`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
