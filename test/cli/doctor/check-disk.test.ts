import { afterEach, expect, it, vi } from "vitest";
import { checkDisk } from "../../../src/cli/doctor/check-disk.ts";
import { resolveSettings } from "../../../src/cli/settings.ts";
import { disk } from "../../../src/disk.ts";

const context = { settings: resolveSettings({}, {}), signal: new AbortController().signal };
afterEach(() => {
  vi.restoreAllMocks();
});

it.each([
  [50e9, "ok", "50.0 GB"],
  [1.5e9, "warn", "1.5 GB"],
  [undefined, "ok", "does not say"],
])("tells what is free: %s", async (free, verdict, words) => {
  vi.spyOn(disk, "freeBytes").mockResolvedValue(free);
  const finding = await checkDisk(context);
  expect(finding.verdict).toBe(verdict);
  expect(finding.found).toMatchObject({
    en: expect.stringContaining(words),
    zh: expect.any(String),
  });
});
