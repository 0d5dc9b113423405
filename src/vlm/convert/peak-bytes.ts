// How much room a conversion shard by shard needs at its fullest moment. In: its steps, and how large the shards are. Out:
// bytes beyond what is on the disk now. It takes the same steps in the same order as the conversion, and only counts.

import type { StoredTensor } from "../checkpoint/safetensors.ts";
import { EMBED_TOKENS } from "../checkpoint/tensor-names.ts";
import type { ConversionPlan } from "./conversion-plan.ts";
import { takeSteps, type WeightStock } from "./conversion-steps.ts";

export interface ShardRoom {
  /** That the disk has to take until it is whole. */
  readonly toCome: number;
  /** That come back when it goes; less than its size where it is a link to a cache. */
  readonly comesBack: number;
}

/** @param kept tensors that an earlier process kept @param taken steps of each track that are taken */
export async function peakBytes(
  { checkpoint, tracks }: ConversionPlan,
  rooms: ReadonlyMap<string, ShardRoom>,
  { kept, taken }: { readonly kept: readonly StoredTensor[]; readonly taken: readonly number[] },
): Promise<number> {
  const stock = new CountedStock(rooms, kept);
  const table = checkpoint.tensors.get(EMBED_TOKENS)?.plain;
  const isWritten = tracks.some(
    ([step], track) => step?.part === "embedding-table" && (taken[track] ?? 0) > 0,
  );
  if (isWritten && table !== undefined) stock.isAlsoWritten(table);
  await takeSteps(
    checkpoint,
    tracks,
    async ({ part, outputBytes }) => {
      stock.add(outputBytes);
      if (part === "embedding-table" && table !== undefined) stock.isAlsoWritten(table);
    },
    stock,
    taken,
  );
  return stock.peak;
}

class CountedStock implements WeightStock {
  readonly #rooms: ReadonlyMap<string, ShardRoom>;
  /** Bytes of each, by name. */
  readonly #kept: Map<string, number>;
  readonly #held = new Set<string>();
  #now = 0;
  peak = 0;

  constructor(rooms: ReadonlyMap<string, ShardRoom>, kept: readonly StoredTensor[]) {
    this.#rooms = rooms;
    this.#kept = new Map(kept.map(({ name, byteLength }) => [name, byteLength]));
  }

  add(bytes: number): void {
    this.#now += bytes;
    this.peak = Math.max(this.peak, this.#now);
  }

  isAlsoWritten({ name }: StoredTensor): void {
    this.#now -= this.#kept.get(name) ?? 0;
    this.#kept.set(name, 0);
  }

  isHere(tensors: readonly StoredTensor[]): boolean {
    return tensors.every(({ name, file }) => this.#kept.has(name) || this.#held.has(file));
  }

  async bring(tensors: readonly StoredTensor[], remaining: readonly StoredTensor[]): Promise<void> {
    const missing = tensors.filter((tensor) => !this.isHere([tensor]));
    for (const file of new Set(missing.map((tensor) => tensor.file))) {
      for (const other of [...this.#held]) this.#retire(other, remaining);
      this.add(this.#rooms.get(file)?.toCome ?? 0);
      this.#held.add(file);
    }
  }

  async keepOnly(remaining: readonly StoredTensor[]): Promise<void> {
    const names = new Set(remaining.map(({ name }) => name));
    for (const [name, bytes] of [...this.#kept]) {
      if (names.has(name)) continue;
      this.#kept.delete(name);
      this.#now -= bytes;
    }
    const files = new Set(
      remaining.flatMap(({ name, file }) => (this.#kept.has(name) ? [] : file)),
    );
    for (const file of [...this.#held]) if (!files.has(file)) this.#drop(file);
  }

  #retire(file: string, remaining: readonly StoredTensor[]): void {
    for (const tensor of remaining) {
      if (tensor.file !== file || this.#kept.has(tensor.name)) continue;
      this.#kept.set(tensor.name, tensor.byteLength);
      this.add(tensor.byteLength);
    }
    this.#drop(file);
  }

  #drop(file: string): void {
    this.#held.delete(file);
    this.#now -= this.#rooms.get(file)?.comesBack ?? 0;
  }
}
