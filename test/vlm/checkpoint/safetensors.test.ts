import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { readShardIndex, Safetensors } from "../../../src/vlm/checkpoint/safetensors.ts";
import { ModelLoadError } from "../../../src/vlm/errors.ts";
import { safetensorsHeader } from "../../support/synthetic-checkpoint.ts";
import { tempDir } from "../../support/temp-dir.ts";

let dir: string;
beforeAll(async () => {
  dir = await tempDir();
});

const entry = (shape: number[], begin: number, end: number, dtype = "F32") => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

/** Writes a file of this header and this many data bytes, counting up, and opens it. */
async function openFile(header: object | string, dataBytes: number): Promise<Safetensors> {
  const json = typeof header === "string" ? header : JSON.stringify(header);
  const data = Uint8Array.from({ length: dataBytes }, (_, i) => i);
  await writeFile(join(dir, "x.safetensors"), Buffer.concat([safetensorsHeader(json), data]));
  return await Safetensors.open(dir, ["x.safetensors"]);
}

async function openBytes(bytes: Uint8Array): Promise<Safetensors> {
  await writeFile(join(dir, "x.safetensors"), bytes);
  return await Safetensors.open(dir, ["x.safetensors"]);
}

describe("Safetensors", () => {
  it("finds tensors and reads any part of them", async () => {
    const header = {
      __metadata__: { format: "pt" },
      b: entry([2], 4, 12),
      a: entry([], 0, 4),
      none: entry([0, 3], 12, 12),
    };
    const weights = await openFile(header, 12);
    expect([...weights.tensors.keys()]).toEqual(["b", "a", "none"]);
    const tensor = weights.tensors.get("b");
    if (tensor === undefined) throw new Error("b is missing");
    expect(tensor).toMatchObject({ dtype: "F32", shape: [2], byteLength: 8 });
    const part = new Uint8Array(3);
    await weights.read(tensor, 5, part);
    expect([...part]).toEqual([9, 10, 11]);
    await expect(weights.read(tensor, 6, part)).rejects.toThrow(RangeError);
    await weights.close();
  });

  it.each<[string, object | string, number, string]>([
    ["not JSON", "{", 0, "not valid JSON"],
    ["not an object", "[]", 0, "a JSON object"],
    ["not text", { a: null }, 0, "Expected a of the header"],
    ["an unknown dtype", { a: entry([1], 0, 4, "F12") }, 4, "a safetensors dtype"],
    ["an inherited dtype", { a: entry([1], 0, 4, "toString") }, 4, "a safetensors dtype"],
    ["a negative size", { a: entry([-1], 0, 4) }, 4, "a list of an integer >= 0"],
    ["a size that is no integer", { a: entry([1.5], 0, 6) }, 6, "integer"],
    ["offsets the wrong way round", { a: entry([1], 4, 0) }, 4, "a begin and an end"],
    ["too many offsets", { a: { dtype: "F32", shape: [1], data_offsets: [0, 4, 8] } }, 8, "begin"],
    [
      "a wrong byte count",
      { a: entry([3], 0, 8) },
      8,
      "a of x.safetensors has 8 bytes; F32 [3] takes 12",
    ],
    ["sizes that overflow", { a: entry([2 ** 40, 2 ** 40], 0, 8) }, 8, "has 8 bytes"],
    ["an end behind the file", { a: entry([4], 0, 16) }, 12, "truncated: a ends at byte"],
    [
      "an overlap",
      { a: entry([2], 0, 8), b: entry([2], 4, 12) },
      12,
      "b of x.safetensors overlaps",
    ],
    [
      "a hole",
      { a: entry([1], 0, 4), b: entry([1], 8, 12) },
      12,
      "b of x.safetensors follows a hole",
    ],
    ["bytes left over", { a: entry([1], 0, 4) }, 5, "1 bytes after its last tensor"],
    [
      "a name twice",
      '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"\\u0061":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
      4,
      "names a twice",
    ],
  ])("refuses a header with %s", async (_, header, dataBytes, words) => {
    const opened = openFile(header, dataBytes);
    await expect(opened).rejects.toThrow(words);
    await expect(opened).rejects.toMatchObject({ code: "model-corrupt" });
  });

  it("does not take nested or quoted names for doubled ones", async () => {
    const header = { 'x": {"dtype"': entry([1], 0, 4), y: entry([1], 4, 8) };
    const weights = await openFile(header, 8);
    expect(weights.tensors.size).toBe(2);
    await weights.close();
  });

  it("refuses files too short for what they claim", async () => {
    await expect(openBytes(new Uint8Array(0))).rejects.toThrow("0 bytes and no header");
    await expect(openBytes(new Uint8Array(7))).rejects.toThrow("7 bytes and no header");
    const prefix = Buffer.alloc(16);
    prefix.writeBigUInt64LE(9n);
    await expect(openBytes(prefix)).rejects.toThrow("its header ends at byte 17, the file at 16");
  });

  it("refuses a huge header before reading it", async () => {
    const prefix = Buffer.alloc(16);
    prefix.writeBigUInt64LE(2n ** 63n);
    await expect(openBytes(prefix)).rejects.toThrow("claims a header of 9223372036854775808 bytes");
  });

  it("refuses headers that are not UTF-8", async () => {
    const header = safetensorsHeader('{"a?":{}}');
    header[11] = 0xff;
    await expect(openBytes(header)).rejects.toThrow(ModelLoadError);
  });

  it("refuses a tensor that is in two files", async () => {
    const file = Buffer.concat([
      safetensorsHeader(JSON.stringify({ a: entry([1], 0, 4) })),
      Buffer.alloc(4),
    ]);
    await writeFile(join(dir, "1.safetensors"), file);
    await writeFile(join(dir, "2.safetensors"), file);
    await expect(Safetensors.open(dir, ["1.safetensors", "2.safetensors"])).rejects.toThrow(
      "The tensor a is in 1.safetensors and in 2.safetensors.",
    );
  });
});

describe("readShardIndex", () => {
  it("refuses files outside the directory", async () => {
    for (const file of ["../x.safetensors", "/x.safetensors", "a/b.safetensors", "x.bin"]) {
      const index = JSON.stringify({ weight_map: { a: file } });
      await writeFile(join(dir, "model.safetensors.index.json"), index);
      await expect(readShardIndex(dir)).rejects.toThrow("beside the index");
    }
  });

  it("refuses an index that names nothing", async () => {
    await writeFile(join(dir, "model.safetensors.index.json"), '{"weight_map":{}}');
    await expect(readShardIndex(dir)).rejects.toThrow("names no tensors");
  });
});
