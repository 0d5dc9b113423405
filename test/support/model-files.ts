// The files of a model for a hub: the tiny chat model as it is published, and made-up ones. Out: names and bytes.

import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join, sep } from "node:path";
import { TINY_CHAT_DIR } from "./tiny-chat.ts";

/** The tiny chat model, with what real repositories have besides. */
export function tinyChatFiles(): Record<string, Buffer> {
  return {
    ".gitattributes": Buffer.from("*.safetensors filter=lfs\n"),
    "pytorch_model.bin": randomBytes(50_000),
    "onnx/model.onnx": randomBytes(30_000),
    ...filesOf(TINY_CHAT_DIR),
  };
}

/** Enough of a model to be pulled, not to be converted. @param weightBytes of `model.safetensors` */
export function madeUpFiles(weightBytes: number): Record<string, Buffer> {
  return {
    "README.md": Buffer.from("# A model\n"),
    "config.json": Buffer.from('{ "model_type": "qwen3_vl" }\n'),
    "tokenizer.json": Buffer.from('{ "version": "1.0" }\n'),
    "tokenizer_config.json": Buffer.from("{}\n"),
    "preprocessor_config.json": Buffer.from("{}\n"),
    "model.safetensors": randomBytes(weightBytes),
  };
}

/** All files of a checkpoint directory. */
export function filesOf(dir: string): Record<string, Buffer> {
  const names = readdirSync(dir).filter((name) => statSync(join(dir, name)).isFile());
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(dir, name))]));
}

/** All files of a directory and of its folders. */
export function treeOf(dir: string): Record<string, Buffer> {
  const paths = readdirSync(dir, { recursive: true, encoding: "utf8" });
  const files = paths.filter((path) => statSync(join(dir, path)).isFile());
  return Object.fromEntries(
    files.map((path) => [path.split(sep).join("/"), readFileSync(join(dir, path))]),
  );
}

/**
 * The same model with its weights in several files and an index, as larger ones are published.
 *
 * @param inOrder puts the tensors in another order before they are dealt out
 */
export function inShards(
  files: Readonly<Record<string, Buffer>>,
  count: number,
  inOrder: (names: readonly string[]) => readonly string[] = (names) => names,
): Record<string, Buffer> {
  const { "model.safetensors": whole = Buffer.alloc(0), ...others } = files;
  const headerBytes = Number(whole.readBigUInt64LE());
  const header = JSON.parse(whole.toString("utf8", 8, 8 + headerBytes)) as Record<
    string,
    { readonly data_offsets: readonly [number, number] }
  >;
  const names = inOrder(Object.keys(header).filter((name) => name !== "__metadata__"));
  const weightMap: Record<string, string> = {};
  const shards: Record<string, Buffer> = {};
  for (let shard = 0; shard < count; shard++) {
    const digits = (number: number) => String(number).padStart(5, "0");
    const file = `model-${digits(shard + 1)}-of-${digits(count)}.safetensors`;
    const own = names.filter((_, i) => Math.floor((i * count) / names.length) === shard);
    const entries: Record<string, object> = {};
    const pieces: Buffer[] = [];
    let at = 0;
    for (const name of own) {
      const [start, end] = header[name]?.data_offsets ?? [0, 0];
      pieces.push(whole.subarray(8 + headerBytes + start, 8 + headerBytes + end));
      entries[name] = { ...header[name], data_offsets: [at, at + end - start] };
      at += end - start;
      weightMap[name] = file;
    }
    const text = Buffer.from(JSON.stringify(entries));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.byteLength));
    shards[file] = Buffer.concat([length, text, ...pieces]);
  }
  const index = JSON.stringify({ metadata: {}, weight_map: weightMap });
  return { ...others, ...shards, "model.safetensors.index.json": Buffer.from(index) };
}
