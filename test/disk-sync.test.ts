import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { EncodingError, readTextSync } from "../src/disk-sync.ts";
import { systemError } from "./support/scripted-disk.ts";
import { tempDir } from "./support/temp-dir.ts";

/** A file that is held for some tries. */
function held(code: string, tries: number, platform = "win32") {
  const pauses: number[] = [];
  const read = () => {
    if (pauses.length < tries) throw systemError(code);
    return Buffer.from("text");
  };
  return { parts: { read, platform, pause: (ms: number) => void pauses.push(ms) }, pauses };
}

describe("readTextSync", () => {
  it("reads a file", async () => {
    const path = join(await tempDir(), "设置.json");
    await writeFile(path, "{}");
    expect(readTextSync(path)).toBe("{}");
    expect(() => readTextSync(`${path}.gone`)).toThrow("ENOENT");
  });

  it.each([
    ["UTF-8", Buffer.from('{ "名": 1 }')],
    ["UTF-8 with a byte order mark", Buffer.from('\uFEFF{ "名": 1 }')],
    ["UTF-16, as PowerShell writes it", Buffer.from('\uFEFF{ "名": 1 }', "utf16le")],
    ["UTF-16 the other way round", Buffer.from('\uFEFF{ "名": 1 }', "utf16le").swap16()],
  ])("reads %s", async (_encoding, bytes) => {
    const path = join(await tempDir(), "bot.json");
    await writeFile(path, bytes);
    expect(readTextSync(path)).toBe('{ "名": 1 }');
  });

  it("refuses what is no Unicode, such as GBK", async () => {
    const path = join(await tempDir(), "bot.json");
    await writeFile(path, Buffer.from([0x22, 0xc3, 0xfb, 0xd7, 0xd6, 0x22]));
    expect(() => readTextSync(path)).toThrow(EncodingError);
  });

  it.each(["EPERM", "EACCES", "EBUSY"])(
    "waits on Windows for a program that holds it: %s",
    (code) => {
      const { parts, pauses } = held(code, 5);
      expect(readTextSync("C:\\bot.json", parts)).toBe("text");
      expect(pauses.length).toBe(5);
      const forever = held(code, Number.POSITIVE_INFINITY);
      expect(() => readTextSync("C:\\bot.json", forever.parts)).toThrow(
        /^Another program holds C:/,
      );
      expect(forever.pauses.reduce((sum, pause) => sum + pause, 0)).toBeLessThanOrEqual(2_000);
    },
  );

  it("does not wait elsewhere, nor for other errors", () => {
    const linux = held("EACCES", 1, "linux");
    expect(() => readTextSync("/x", linux.parts)).toThrow("EACCES");
    const missing = held("ENOENT", 1);
    expect(() => readTextSync("C:\\x", missing.parts)).toThrow("ENOENT");
    expect([...linux.pauses, ...missing.pauses]).toEqual([]);
  });
});
