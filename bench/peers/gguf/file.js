// A GGUF file: pairs of keys and values, a list of tensors, the tensors. In: what is to be in it, and a checkpoint in
// bf16 that the weights are read from. Out: one file. It knows nothing of any model.

import { open, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { FORMATS } from "./blocks.js";

const ALIGNMENT = 32;
/** Numbers turned at once. */
const PIECE = 2 ** 21;

/** A checkpoint's configuration, tokenizer, and where its tensors lie. */
export async function openCheckpoint(dir) {
  const [config, tokenizer] = await Promise.all(
    ["config.json", "tokenizer.json"].map(async (name) =>
      JSON.parse(await readFile(join(dir, name), "utf8")),
    ),
  );
  const file = await open(join(dir, "model.safetensors"));
  return { config, tokenizer, file, stored: await readHeader(file) };
}

async function readHeader(file) {
  const length = Buffer.alloc(8);
  await file.read(length, 0, 8, 0);
  const bytes = Buffer.alloc(Number(length.readBigUInt64LE()));
  await file.read(bytes, 0, bytes.byteLength, 8);
  const base = 8 + bytes.byteLength;
  return new Map(
    Object.entries(JSON.parse(bytes.toString("utf8"))).map(
      ([name, { shape, data_offsets: [start] = [] }]) => [name, { shape, start: base + start }],
    ),
  );
}

/**
 * @param {string} path
 * @param {Awaited<ReturnType<typeof openCheckpoint>>} checkpoint
 * @param {[key: string, kind: string, value: unknown][]} pairs
 * @param {{ name: string, from: string, format: keyof typeof FORMATS, shape?: number[],
 *   runs?: { length: number, stride: number, first: number } }[]} list tensors: their name here and there. `runs` takes
 *   `length` numbers of every `stride`, from the `first` on, where a tensor is a part of the stored one.
 */
export async function writeGguf(path, checkpoint, pairs, list) {
  const target = await open(`${path}.new`, "w");
  try {
    const tensors = placed(list, checkpoint.stored);
    const header = headerOf(pairs, tensors);
    await target.write(header);
    for (const tensor of tensors) {
      await writeTensor(checkpoint.file, target, tensor, header.byteLength);
    }
  } finally {
    await target.close();
  }
  await rename(`${path}.new`, path);
}

/** Where each tensor is read and written. */
function placed(list, stored) {
  let offset = 0;
  return list.map(({ name, from, format: formatName, shape, runs }) => {
    const source = stored.get(from);
    if (source === undefined) throw new Error(`The checkpoint has no tensor ${from}.`);
    const format = FORMATS[formatName];
    const size = (shape ?? source.shape).reduce((product, side) => product * side, 1);
    const tensor = {
      name,
      shape: shape ?? source.shape,
      start: source.start,
      storedCount: source.shape.reduce((product, side) => product * side, 1),
      runs,
      format,
      offset,
    };
    const end = offset + (size / format.block) * format.blockBytes;
    offset = Math.ceil(end / ALIGNMENT) * ALIGNMENT;
    return tensor;
  });
}

async function writeTensor(source, target, { start, storedCount, runs, offset, format }, base) {
  const stride = runs?.stride ?? 1;
  const piece = Math.floor(PIECE / stride) * stride;
  const raw = new Uint16Array(piece);
  const bits = new Uint32Array(piece);
  const floats = new Float32Array(bits.buffer);
  let position = base + offset;
  for (let first = 0; first < storedCount; first += piece) {
    const count = Math.min(piece, storedCount - first);
    await source.read(new Uint8Array(raw.buffer, 0, 2 * count), 0, 2 * count, start + 2 * first);
    for (let i = 0; i < count; i++) bits[i] = raw[i] << 16; // bf16
    const bytes = format.encode(taken(floats.subarray(0, count), runs));
    await target.write(bytes, 0, bytes.byteLength, position);
    position += bytes.byteLength;
  }
}

function taken(values, runs) {
  if (runs === undefined) return values;
  const { length, stride, first } = runs;
  const kept = new Float32Array((values.length / stride) * length);
  for (let from = first, to = 0; to < kept.length; from += stride, to += length) {
    kept.set(values.subarray(from, from + length), to);
  }
  return kept;
}

function headerOf(pairs, tensors) {
  const writer = new Writer();
  writer.raw(Buffer.from("GGUF")).u32(3).u64(tensors.length).u64(pairs.length);
  for (const [key, kind, value] of pairs) writer.text(key).value(kind, value);
  for (const { name, shape, offset, format } of tensors) {
    writer.text(name).u32(shape.length);
    for (const side of shape.toReversed()) writer.u64(side);
    writer.u32(format.type).u64(offset);
  }
  return writer.padded(ALIGNMENT);
}

/** Numbers of the kinds of values. */
const [U32, I32, F32, BOOL, STRING, ARRAY] = [4, 5, 6, 7, 8, 9];

class Writer {
  #parts = [];

  raw(bytes) {
    this.#parts.push(bytes);
    return this;
  }

  u32(value) {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return this.raw(bytes);
  }

  u64(value) {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    return this.raw(bytes);
  }

  text(value) {
    const bytes = Buffer.from(value, "utf8");
    return this.u64(bytes.byteLength).raw(bytes);
  }

  value(kind, value) {
    switch (kind) {
      case "u32":
        return this.u32(U32).u32(value);
      case "f32":
        return this.u32(F32).raw(Buffer.from(Float32Array.of(value).buffer));
      case "bool":
        return this.u32(BOOL).raw(Buffer.from([value ? 1 : 0]));
      case "string":
        return this.u32(STRING).text(value);
      case "i32s":
        return this.#array(I32, value).raw(Buffer.from(Int32Array.from(value).buffer));
      case "f32s":
        return this.#array(F32, value).raw(Buffer.from(Float32Array.from(value).buffer));
      case "bools":
        return this.#array(BOOL, value).raw(Buffer.from(value.map((each) => (each ? 1 : 0))));
      case "strings":
        this.#array(STRING, value);
        for (const text of value) this.text(text);
        return this;
      default:
        throw new TypeError(`Unknown kind ${kind}.`);
    }
  }

  #array(kind, values) {
    return this.u32(ARRAY).u32(kind).u64(values.length);
  }

  padded(alignment) {
    const bytes = Buffer.concat(this.#parts);
    const missing = (alignment - (bytes.byteLength % alignment)) % alignment;
    return Buffer.concat([bytes, Buffer.alloc(missing)]);
  }
}
