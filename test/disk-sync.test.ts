import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readTextSync } from "../src/disk-sync.ts";
import { systemError } from "./support/scripted-disk.ts";
import { tempDir } from "./support/temp-dir.ts";

/** A file that is held for some tries. */
function held(code: string, tries: number, platform = "win32") {
  const pauses: number[] = [];
  const read = () => {
    if (pauses.length < tries) throw systemError(code);
    return "text";
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
