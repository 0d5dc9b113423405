// The tiny chat model with a head of its own, so that it writes what no toy was taught: marks, thoughts, the same for ever.
// In: a change to the rows of the head. Out: a checkpoint directory. It reads on as if it had written the usual token.

import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TINY_CHAT } from "./golden-checkpoint.ts";
import { safetensorsHeader } from "./synthetic-checkpoint.ts";

const EMBEDDING = "model.language_model.embed_tokens.weight";

interface Header {
  [name: string]: { dtype: string; shape: number[]; data_offsets: [number, number] };
}

/** Rows of the two tables by token id, as bytes. */
export interface HeadRows {
  readonly head: (id: number) => Buffer;
  readonly embedding: (id: number) => Buffer;
}

/** Writes a copy of the tiny chat checkpoint whose head is no longer its embedding. */
export async function tinyChatWithHead(
  dir: string,
  change: (rows: HeadRows) => void,
): Promise<string> {
  await cp(TINY_CHAT, dir, { recursive: true, filter: (path) => !path.includes("onnx") });
  const file = join(dir, "model.safetensors");
  const bytes = await readFile(file);
  const headerBytes = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + headerBytes)) as Header;
  const data = Buffer.from(bytes.subarray(8 + headerBytes));
  const stored = header[EMBEDDING];
  if (!stored) throw new Error("the tiny chat model has no embedding");
  const embedding = data.subarray(...stored.data_offsets);
  const head = Buffer.from(embedding);
  const rowBytes = embedding.length / stored.shape[0]!;
  const rowOf = (table: Buffer) => (id: number) =>
    table.subarray(id * rowBytes, (id + 1) * rowBytes);
  change({ head: rowOf(head), embedding: rowOf(embedding) });

  header["lm_head.weight"] = { ...stored, data_offsets: [data.length, data.length + head.length] };
  await writeFile(file, Buffer.concat([safetensorsHeader(JSON.stringify(header)), data, head]));
  const configFile = join(dir, "config.json");
  const config = JSON.parse(await readFile(configFile, "utf8"));
  config.tie_word_embeddings = false;
  config.text_config.tie_word_embeddings = false;
  await writeFile(configFile, JSON.stringify(config));
  return dir;
}

/** Where the model wanted `from` it now writes `to`, and reads on as if it had written `from`. */
export function writeInstead({ head, embedding }: HeadRows, from: number, to: number): void {
  const wanted = Buffer.from(head(from));
  head(from).set(head(to));
  head(to).set(wanted);
  embedding(to).set(embedding(from));
}

/**
 * Makes some tokens likely everywhere, and all others equally unlikely: their rows become the mean of what the model mostly
 * wants, each with a part of its own row, so that all of them are in sight and none is certain.
 */
export function makeLikely({ head }: HeadRows, ids: readonly number[], wanted: readonly number[]) {
  const rows = wanted.map((id) => readBfloat16(head(id)));
  const mean = rows[0]!.map((_, at) => rows.reduce((sum, row) => sum + row[at]!, 0) / rows.length);
  const mixed = ids.map((id) => readBfloat16(head(id)).map((value, at) => mean[at]! + 0.3 * value));
  const never = mean.map((value) => -value);
  for (let id = 0; head(id).length > 0; id++) writeBfloat16(head(id), never);
  for (const [index, id] of ids.entries()) writeBfloat16(head(id), mixed[index]!);
}

function readBfloat16(row: Buffer): Float32Array {
  const bits = Uint32Array.from(
    { length: row.length / 2 },
    (_, i) => row.readUInt16LE(2 * i) << 16,
  );
  return new Float32Array(bits.buffer);
}

function writeBfloat16(row: Buffer, values: Float32Array): void {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (const [i, word] of bits.entries()) row.writeUInt16LE(word >>> 16, 2 * i);
}

/** Lets the template of a checkpoint open a thought in the prompt, as that of a Thinking one does. */
export async function opensThoughts(dir: string): Promise<void> {
  const file = join(dir, "chat_template.json");
  const { chat_template } = JSON.parse(await readFile(file, "utf8"));
  const opening = String(chat_template).replace("assistant\n'", "assistant\n<think>\n'");
  await writeFile(file, JSON.stringify({ chat_template: opening }));
}
