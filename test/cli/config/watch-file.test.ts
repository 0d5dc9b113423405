import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type FileWatch, watchFile } from "../../../src/cli/config/watch-file.ts";

const PATIENCE = { timeout: 60_000, interval: 20 };
let directory: string;
let watch: FileWatch | undefined;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "napcat-vlm-watch-"));
});
afterEach(() => {
  watch?.close();
  rmSync(directory, { recursive: true, force: true });
});

describe("watchFile", () => {
  it("notices a file that is written, and one that is put in its place", async () => {
    const file = join(directory, "bot.jsonc");
    writeFileSync(file, "{}");
    const onChange = vi.fn();
    watch = watchFile(file, onChange, () => {});
    writeFileSync(file, "{ }");
    await vi.waitFor(() => expect(onChange).toHaveBeenCalled(), PATIENCE);
    const before = onChange.mock.calls.length;
    writeFileSync(join(directory, ".swap"), "{  }");
    renameSync(join(directory, ".swap"), file);
    await vi.waitFor(() => expect(onChange.mock.calls.length).toBeGreaterThan(before), PATIENCE);
  });

  it("says that a directory cannot be watched, and goes on", async () => {
    const onTrouble = vi.fn();
    watch = watchFile(join(directory, "none", "bot.jsonc"), () => {}, onTrouble);
    await vi.waitFor(() => expect(onTrouble).toHaveBeenCalledTimes(1), PATIENCE);
  });
});
