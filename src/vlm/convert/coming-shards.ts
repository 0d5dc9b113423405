// The headers of shards that are not here yet. In: whoever fetches the first bytes of a file. Out: what the shards hold,
// known before any of them is whole, and kept for later processes. When a shard is here, its own header has the word.

import { createHash } from "node:crypto";
import { join } from "node:path";
import { disk } from "../../disk.ts";
import { headerLength, readHeader, type StoredTensor } from "../checkpoint/safetensors.ts";
import { DamagedWork } from "./conversion-mark.ts";
import type { ShardRoom } from "./peak-bytes.ts";

export interface ComingShard {
  readonly file: string;
  readonly bytes: number;
  /** As the hub names it, one of the two. */
  readonly sha256?: string | undefined;
  readonly gitSha1?: string | undefined;
}

/** A checkpoint of several files of weights that come one at a time; its other files are here. */
export interface ComingCheckpoint {
  /** Where the files come to. */
  readonly dir: string;
  readonly shards: readonly ComingShard[];
  /** The first bytes of a shard; undefined where only whole files can be had. */
  beginning(file: string, bytes: number): Promise<Buffer | undefined>;
  room(file: string): Promise<ShardRoom>;
  /** Resolves when it is whole, and its hash was right. */
  fetch(file: string): Promise<void>;
  /** Removes it, and what there is of one. */
  drop(file: string): Promise<void>;
}

/** More than most headers have. */
const FIRST_BYTES = 2 ** 16;
const HASH_BYTES = 32;

/** @returns undefined where only whole files can be had */
export async function comingTensors(
  { shards, beginning }: Pick<ComingCheckpoint, "shards" | "beginning">,
  keptDir: string,
): Promise<StoredTensor[] | undefined> {
  const tensors: StoredTensor[] = [];
  for (const { file, bytes } of shards) {
    const path = headPath(keptDir, file);
    if ((await readHead(path)) === undefined) {
      const head = await fetchHead(file, bytes, beginning);
      if (head === undefined) return undefined;
      await disk.replaceFile(path, Buffer.concat([head, hashOf(head)]));
    }
    const handle = await disk.open(path, "r");
    try {
      tensors.push(...(await readHeader(handle, file, bytes)));
    } finally {
      await handle.close();
    }
  }
  return tensors;
}

async function fetchHead(
  file: string,
  bytes: number,
  beginning: ComingCheckpoint["beginning"],
): Promise<Buffer | undefined> {
  const first = await beginning(file, Math.min(FIRST_BYTES, bytes));
  if (first === undefined || first.byteLength < 8) return first;
  const length = Math.min(headerLength(first, file), bytes);
  const whole = length <= first.byteLength ? first : await beginning(file, length);
  return whole?.subarray(0, length);
}

/** With its hash behind it; a damaged one counts as none. */
async function readHead(path: string): Promise<Buffer | undefined> {
  const bytes = await disk.readBytes(path).catch(() => Buffer.alloc(0));
  const head = bytes.subarray(0, Math.max(0, bytes.byteLength - HASH_BYTES));
  return hashOf(head).equals(bytes.subarray(head.byteLength)) ? head : undefined;
}

function hashOf(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}

/** @throws DamagedWork when a shard that is here begins otherwise than was said */
export async function assertHeader(dir: string, keptDir: string, file: string): Promise<void> {
  const said = await readHead(headPath(keptDir, file));
  if (said === undefined) throw new DamagedWork();
  const handle = await disk.open(join(dir, file), "r");
  try {
    const { buffer, bytesRead } = await handle.read(
      Buffer.alloc(said.byteLength),
      0,
      said.byteLength,
      0,
    );
    if (bytesRead < said.byteLength || !buffer.equals(said)) throw new DamagedWork();
  } finally {
    await handle.close();
  }
}

function headPath(keptDir: string, file: string): string {
  return join(keptDir, `${file}.head`);
}
