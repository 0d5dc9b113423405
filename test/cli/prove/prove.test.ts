// A proof that is stopped: what it says, what it writes, and that it proves nothing.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, it, vi } from "vitest";
import { announcedDevice } from "../../../src/cli/announced-device.ts";
import { prove } from "../../../src/cli/prove/prove.ts";
import { tempDir } from "../../support/temp-dir.ts";

afterEach(() => vi.restoreAllMocks());

it("is not proven when it is stopped before its end, and its report says what was found", async () => {
  let printed = "";
  const controller = new AbortController();
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    printed += String(text);
    if (/tiny-tied \(fp32\)/.test(printed)) controller.abort(new Error("Asked to stop."));
    return true;
  });
  const json = join(await tempDir(), "proof.json");
  const command = { device: "cpu", json, quick: true } as const;
  expect(await prove(command, controller.signal)).toBe(1);
  expect(printed).toMatch(/not proven: it was stopped before its end\n$/);
  const report = JSON.parse(await readFile(json, "utf8"));
  expect(report).toMatchObject({
    device: "cpu",
    speed: [],
    machine: { threads: expect.any(Number) },
  });
  // What it was in the middle of is no finding.
  expect(report.checks.map(({ name }: { name: string }) => name)).toEqual([
    "the device is there",
    "the golden checkpoint tiny-tied (fp32)",
  ]);
});

it("tells which device it took, and why, when none was named", async () => {
  let printed = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    printed += String(text);
    return true;
  });
  expect(await announcedDevice("cuda:1")).toBe("cuda:1");
  expect(printed).toBe("");
  const device = await announcedDevice("auto");
  expect(printed).toContain(`The device "auto" is ${device}`);
});
