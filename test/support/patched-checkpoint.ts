// The tiny chat checkpoint with something changed, as tools leave it: merge patches (RFC 7386) to its JSON files,
// files taken away, tensors renamed, added or dropped, weights split into shards. Out: a directory to load.

import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TINY_CHAT } from "./golden-checkpoint.ts";
import { safetensorsHeader } from "./synthetic-checkpoint.ts";

export interface AddedTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
}

export interface CheckpointPatch {
  /** Merge patches by file; null deletes. */
  readonly patch?: Readonly<Record<string, Json>>;
  readonly remove?: readonly string[];
  /** Zeros, at the end of the weights. */
  readonly addTensors?: readonly AddedTensor[];
  /** The index also names `alsoNames`, in the last file. */
  readonly shards?: {
    readonly count: number;
    readonly alsoNames?: readonly string[];
    readonly withoutIndex?: boolean;
  };
  readonly withoutWeights?: boolean;
  /** What a tensor is called in the file; undefined leaves it out. */
  readonly rename?: (name: string) => string | undefined;
  /** Replaces the bytes of a tensor. */
  readonly change?: (name: string, bytes: Buffer) => Buffer;
  /** Further files, by name. */
  readonly files?: Readonly<Record<string, string>>;
}

export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [key: string]: Json };

export interface Tensor extends AddedTensor {
  readonly bytes: Buffer;
}

const FILES = [
  "chat_template.json",
  "config.json",
  "generation_config.json",
  "preprocessor_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
];
const ITEM_BYTES: Readonly<Record<string, number>> = {
  BF16: 2,
  F16: 2,
  F32: 4,
  U8: 1,
  I32: 4,
  I64: 8,
};

export async function patchedCheckpoint(dir: string, patch: CheckpointPatch): Promise<string> {
  await mkdir(dir, { recursive: true });
  const { patch: patches = {}, remove = [], files = {} } = patch;
  for (const file of FILES.filter((name) => !remove.includes(name))) {
    const change = patches[file];
    if (change === undefined) {
      await copyFile(join(TINY_CHAT, file), join(dir, file));
    } else {
      const json = JSON.parse(await readFile(join(TINY_CHAT, file), "utf8")) as Json;
      await writeFile(join(dir, file), JSON.stringify(merge(json, change), undefined, 2));
    }
  }
  for (const [file, text] of Object.entries(files)) await writeFile(join(dir, file), text);
  if (patch.withoutWeights !== true) await writeWeights(dir, patch);
  return dir;
}

async function writeWeights(dir: string, { shards, ...patch }: CheckpointPatch): Promise<void> {
  const tensors = await changedTensors(patch);
  if (shards === undefined) {
    await writeFile(join(dir, "model.safetensors"), safetensors(tensors));
    return;
  }
  const weightMap: Record<string, string> = {};
  const number = (n: number) => String(n).padStart(5, "0");
  for (let i = 0; i < shards.count; i++) {
    const file = `model-${number(i + 1)}-of-${number(shards.count)}.safetensors`;
    const part = tensors.filter((_, t) => Math.floor((t * shards.count) / tensors.length) === i);
    for (const { name } of part) weightMap[name] = file;
    if (i === shards.count - 1) for (const name of shards.alsoNames ?? []) weightMap[name] = file;
    await writeFile(join(dir, file), safetensors(part));
  }
  if (shards.withoutIndex === true) return;
  const index = JSON.stringify({ metadata: {}, weight_map: weightMap });
  await writeFile(join(dir, "model.safetensors.index.json"), index);
}

async function changedTensors({
  rename = (name) => name,
  change = (_, bytes) => bytes,
  addTensors = [],
}: CheckpointPatch): Promise<Tensor[]> {
  const kept = (await tinyTensors()).flatMap((tensor) => {
    const name = rename(tensor.name);
    return name === undefined
      ? []
      : [{ ...tensor, name, bytes: change(tensor.name, tensor.bytes) }];
  });
  const added = addTensors.map((tensor) => {
    const items = tensor.shape.reduce((product, size) => product * size, 1);
    return { ...tensor, bytes: Buffer.alloc(items * (ITEM_BYTES[tensor.dtype] ?? 1)) };
  });
  return [...kept, ...added];
}

/** The tensors of examples/tiny-chat in the order of its header. */
export async function tinyTensors(): Promise<Tensor[]> {
  return tensorsOf(await readFile(join(TINY_CHAT, "model.safetensors"))).tensors;
}

/** Everything in a safetensors file, in the order of its header. */
export function tensorsOf(file: Buffer): {
  readonly tensors: Tensor[];
  readonly metadata: Readonly<Record<string, string>>;
} {
  const dataStart = 8 + Number(file.readBigUInt64LE());
  const { __metadata__: metadata = {}, ...header } = JSON.parse(
    file.toString("utf8", 8, dataStart),
  ) as { __metadata__?: Record<string, string> } & Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = Object.entries(header).map(([name, { dtype, shape, data_offsets }]) => ({
    name,
    dtype,
    shape,
    bytes: file.subarray(dataStart + data_offsets[0], dataStart + data_offsets[1]),
  }));
  return { tensors, metadata };
}

export function safetensors(tensors: readonly Tensor[]): Buffer {
  const header: Record<string, object> = { __metadata__: { format: "pt" } };
  let end = 0;
  for (const { name, dtype, shape, bytes } of tensors) {
    const begin = end;
    end += bytes.byteLength;
    header[name] = { dtype, shape, data_offsets: [begin, end] };
  }
  return Buffer.concat([
    safetensorsHeader(JSON.stringify(header)),
    ...tensors.map(({ bytes }) => bytes),
  ]);
}

/** RFC 7386. */
export function merge(target: Json, patch: Json): Json {
  if (!isObject(patch)) return patch;
  const result: Record<string, Json> = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = merge(result[key] ?? null, value);
  }
  return result;
}

function isObject(value: Json): value is { readonly [key: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
