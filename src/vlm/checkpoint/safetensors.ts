// Weights in safetensors files, one file or shards with an index. Out: where each tensor lies, and its bytes
// piece by piece. Every claim of a header is checked against the file before anything is read. Knows no model.

import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { disk } from "../../disk.ts";
import { ModelLoadError } from "../errors.ts";
import { JsonFields, readJsonFile } from "./json-fields.ts";

export const SINGLE_FILE = "model.safetensors";
export const INDEX_FILE = "model.safetensors.index.json";

/** The format's own limit for the header. */
const MAX_HEADER_BYTES = 100_000_000;

const DTYPE_BITS: Readonly<Record<string, number>> = {
  ...{ F4: 4, F6_E2M3: 6, F6_E3M2: 6, C64: 64 },
  ...{ BOOL: 8, U8: 8, I8: 8, F8_E4M3: 8, F8_E5M2: 8, F8_E8M0: 8, U16: 16, I16: 16, F16: 16 },
  ...{ BF16: 16, U32: 32, I32: 32, F32: 32, U64: 64, I64: 64, F64: 64 },
};

/** One tensor on disk. */
export interface StoredTensor {
  readonly name: string;
  /** As the file spells it: `BF16`, `F16`, `F32`, ... */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** File name inside the checkpoint directory. */
  readonly file: string;
  /** From the beginning of the file. */
  readonly offset: number;
  readonly byteLength: number;
}

/** Where the bytes of stored tensors come from. */
export interface TensorBytes {
  /** Fills `target` with the tensor's bytes from `start` on, which are all inside it. */
  read(tensor: StoredTensor, start: number, target: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/** The weights of a checkpoint: what their headers say, and their bytes. */
export class Safetensors {
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly #bytes: TensorBytes;

  /** @throws ModelLoadError `model-corrupt` for a tensor that is there twice */
  constructor(stored: Iterable<StoredTensor>, bytes: TensorBytes) {
    const tensors = new Map<string, StoredTensor>();
    for (const tensor of stored) {
      const other = tensors.get(tensor.name);
      if (other !== undefined) {
        throw corrupt(`The tensor ${tensor.name} is in ${other.file} and in ${tensor.file}.`);
      }
      tensors.set(tensor.name, tensor);
    }
    this.tensors = tensors;
    this.#bytes = bytes;
  }

  /**
   * Opens `files` of `dir` and checks their headers.
   *
   * @throws ModelLoadError `model-corrupt` for a header that is truncated or lies, or a tensor that is there twice
   */
  static async open(dir: string, files: readonly string[]): Promise<Safetensors> {
    const stored: StoredTensor[] = [];
    const handles = new Map<string, FileHandle>();
    const bytes = new OpenFiles(handles);
    try {
      for (const file of files) {
        const handle = await disk.open(join(dir, file), "r");
        handles.set(file, handle);
        stored.push(...(await readHeader(handle, file)));
      }
      return new Safetensors(stored, bytes);
    } catch (error) {
      await bytes.close();
      throw error;
    }
  }

  /** Fills `target` with the tensor's bytes from `start` on. */
  async read(tensor: StoredTensor, start: number, target: Uint8Array): Promise<void> {
    const isKnown = this.tensors.get(tensor.name) === tensor;
    if (!isKnown || start < 0 || start + target.byteLength > tensor.byteLength) {
      throw new RangeError(`Expected a range inside ${tensor.name} of this checkpoint.`);
    }
    await this.#bytes.read(tensor, start, target);
  }

  async close(): Promise<void> {
    await this.#bytes.close();
  }
}

class OpenFiles implements TensorBytes {
  readonly #handles: ReadonlyMap<string, FileHandle>;

  constructor(handles: ReadonlyMap<string, FileHandle>) {
    this.#handles = handles;
  }

  async read({ file, offset }: StoredTensor, start: number, target: Uint8Array): Promise<void> {
    const handle = this.#handles.get(file);
    if (handle === undefined) throw new RangeError(`${file} is not open.`);
    await readFully(handle, target, offset + start, file);
  }

  async close(): Promise<void> {
    for (const handle of this.#handles.values()) await handle.close();
  }
}

/**
 * Reads model.safetensors.index.json: which file holds which tensor.
 *
 * @throws ModelLoadError `model-corrupt` when it names a file outside the directory
 */
export async function readShardIndex(dir: string): Promise<ReadonlyMap<string, string>> {
  const weightMap = new JsonFields(await readJsonFile(dir, INDEX_FILE), INDEX_FILE).object(
    "weight_map",
  );
  const shards = new Map<string, string>();
  for (const tensor of weightMap.keys()) {
    const file = weightMap.string(tensor);
    if (!/^[\w.-]+\.safetensors$/.test(file)) {
      throw weightMap.wrong(tensor, "the name of a .safetensors file beside the index");
    }
    shards.set(tensor, file);
  }
  if (shards.size === 0) throw corrupt(`${INDEX_FILE} names no tensors.`);
  return shards;
}

/**
 * What the header of an open file says, every claim of it checked.
 *
 * @param file what errors call it
 * @param size bytes of the whole file, where only its beginning is there. @default what the file has
 * @throws ModelLoadError `model-corrupt`
 */
export async function readHeader(
  handle: FileHandle,
  file: string,
  size?: number,
): Promise<StoredTensor[]> {
  const { bytes, dataStart, fileBytes } = await headerOf(handle, file, size);
  const tensors = parseHeader(bytes, file, dataStart);
  checkCoverage(tensors, file, dataStart, fileBytes);
  return tensors;
}

/** Bytes of a header, its length included. @param prefix the first 8 bytes of a file @throws ModelLoadError */
export function headerLength(prefix: Buffer, file: string): number {
  const headerBytes = prefix.readBigUInt64LE();
  if (headerBytes > BigInt(MAX_HEADER_BYTES)) {
    throw corrupt(
      `${file} claims a header of ${headerBytes} bytes; the format allows ${MAX_HEADER_BYTES}.`,
    );
  }
  return 8 + Number(headerBytes);
}

async function headerOf(handle: FileHandle, file: string, known: number | undefined) {
  const size = known ?? (await handle.stat()).size;
  if (size < 8) throw corrupt(`${file} is truncated: it has ${size} bytes and no header.`);
  const prefix = Buffer.alloc(8);
  await readFully(handle, prefix, 0, file);
  const dataStart = headerLength(prefix, file);
  if (dataStart > size) {
    throw corrupt(
      `${file} is truncated: its header ends at byte ${dataStart}, the file at ${size}.`,
    );
  }
  const bytes = Buffer.alloc(dataStart - 8);
  await readFully(handle, bytes, 8, file);
  return { bytes, dataStart, fileBytes: size };
}

function parseHeader(bytes: Uint8Array, file: string, dataStart: number): StoredTensor[] {
  let text: string;
  let json: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    json = JSON.parse(text);
  } catch (cause) {
    throw new ModelLoadError("model-corrupt", `The header of ${file} is not valid JSON.`, {
      cause,
    });
  }
  const header = new JsonFields(json, `the header of ${file}`);
  const twice = firstRepeatedKey(text);
  if (twice !== undefined) throw corrupt(`The header of ${file} names ${twice} twice.`);
  return header
    .keys()
    .filter((name) => name !== "__metadata__")
    .map((name) => parseEntry(name, header.object(name), file, dataStart));
}

function parseEntry(
  name: string,
  entry: JsonFields,
  file: string,
  dataStart: number,
): StoredTensor {
  const dtype = entry.string("dtype");
  const bits = Object.hasOwn(DTYPE_BITS, dtype) ? DTYPE_BITS[dtype] : undefined;
  if (bits === undefined) throw entry.wrong("dtype", "a safetensors dtype");
  const size = { integer: true, min: 0 } as const;
  const shape = entry.numbers("shape", size);
  const [begin, end, ...more] = entry.numbers("data_offsets", size);
  if (begin === undefined || end === undefined || more.length > 0 || begin > end) {
    throw entry.wrong("data_offsets", "a begin and an end");
  }
  const expected = shape.reduce((product, length) => product * length, bits / 8);
  if (expected !== end - begin) {
    throw corrupt(
      `The tensor ${name} of ${file} has ${end - begin} bytes; ${dtype} [${shape.join(", ")}] takes ${expected}.`,
    );
  }
  return { name, dtype, shape, file, offset: dataStart + begin, byteLength: end - begin };
}

/** The format wants the tensors to fill the file without holes; so overlap and truncation show here. */
function checkCoverage(
  tensors: readonly StoredTensor[],
  file: string,
  dataStart: number,
  fileSize: number,
): void {
  const inOrder = tensors.toSorted((a, b) => a.offset - b.offset || a.byteLength - b.byteLength);
  let end = dataStart;
  for (const tensor of inOrder) {
    if (tensor.offset + tensor.byteLength > fileSize) {
      throw corrupt(
        `${file} is truncated: ${tensor.name} ends at byte ${tensor.offset + tensor.byteLength}, the file at ${fileSize}.`,
      );
    }
    if (tensor.offset !== end) {
      const what = tensor.offset < end ? "overlaps the tensor before it" : "follows a hole";
      throw corrupt(`The tensor ${tensor.name} of ${file} ${what}.`);
    }
    end = tensor.offset + tensor.byteLength;
  }
  if (end !== fileSize) {
    throw corrupt(`${file} has ${fileSize - end} bytes after its last tensor.`);
  }
}

/** JSON.parse keeps the last of two equal keys without a word, so the names are read once more. */
function firstRepeatedKey(text: string): string | undefined {
  const seen = new Set<string>();
  const token = /"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?|[{}[\]]/g;
  let depth = 0;
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    const [found, colon] = match;
    if (found === "{" || found === "[") depth++;
    else if (found === "}" || found === "]") depth--;
    else if (depth === 1 && colon !== undefined) {
      const key = JSON.parse(found.slice(0, -colon.length)) as string;
      if (seen.has(key)) return key;
      seen.add(key);
    }
  }
  return undefined;
}

/** @throws ModelLoadError `model-corrupt` where the file ends too early */
export async function readFully(
  handle: FileHandle,
  target: Uint8Array,
  position: number,
  file: string,
): Promise<void> {
  let done = 0;
  while (done < target.byteLength) {
    const { bytesRead } = await handle.read(
      target,
      done,
      target.byteLength - done,
      position + done,
    );
    if (bytesRead === 0) throw corrupt(`${file} became shorter while it was being read.`);
    done += bytesRead;
  }
}

function corrupt(message: string): ModelLoadError {
  return new ModelLoadError("model-corrupt", message);
}
