// A proof as a whole: what it says, what it writes, and that it proves nothing when it is stopped or anything fails.

import { readdir, readFile, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { announcedDevice } from "../../../src/cli/announced-device.ts";
import { type ProofParts, prove } from "../../../src/cli/prove/prove.ts";
import { withoutHome } from "../../../src/cli/prove/report-file.ts";
import { whereSoftwareIs } from "../../../src/cli/prove/software-driver.ts";
import { UsageError } from "../../../src/cli/usage-error.ts";
import { goldenErrors } from "../../../src/vlm/proof/golden-errors.ts";
import { tryDevice } from "../../../src/vlm/runtime/device.ts";
import { tempDir } from "../../support/temp-dir.ts";

vi.mock("../../../src/vlm/runtime/device.ts", async (original) => {
  const real = await original<typeof import("../../../src/vlm/runtime/device.ts")>();
  return { ...real, tryDevice: vi.fn(real.tryDevice) };
});

const RIGHT = { largest: 0, relative: 0, fromCpu: 0, sameTokens: 60, steps: 60 };
let printed = "";
let onPrint: () => void = () => {};

beforeEach(() => {
  printed = "";
  onPrint = () => {};
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    printed += String(text);
    onPrint();
    return true;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

/** Parts of a proof that hold, but for those that are named. */
function parts(others: Partial<ProofParts> = {}): ProofParts {
  return {
    goldenErrors: async () => RIGHT,
    checkBehaviour: async ({ checks, precision }) => {
      await checks.run(`answers (${precision})`, async () => ({ ok: true, value: "60 of 60" }));
      return 1;
    },
    proofs: { record: async () => {} },
    missingFormat: async () => undefined,
    ...others,
  };
}

async function proof(command: { quick?: boolean; signal?: AbortSignal }, some = parts()) {
  const json = join(await tempDir(), "proof.json");
  const { quick = true, signal = new AbortController().signal } = command;
  const code = await prove({ device: "cpu", json, quick }, signal, some);
  const report = JSON.parse(await readFile(json, "utf8"));
  const names = report.checks.map(({ name }: { name: string }) => name);
  return { code, report, names };
}

describe("a proof", () => {
  it("holds when all of its checks do, and its report has the promised form", async () => {
    const { code, report, names } = await proof({});
    expect(code).toBe(0);
    expect(Object.keys(report)).toEqual(["device", "checks", "speed", "machine"]);
    expect(report).toMatchObject({ device: "cpu", speed: [], machine: MACHINE });
    for (const check of report.checks) {
      expect(Object.keys(check)).toEqual(["name", "ok", "value"]);
      expect(check.ok).toBe(true);
    }
    expect(names).toEqual([
      "the device is there",
      ...["fp32", "w8a8", "q4"].flatMap((precision) => [
        `the golden checkpoint tiny-tied (${precision})`,
        `the golden checkpoint tiny-untied (${precision})`,
        `answers (${precision})`,
      ]),
      "the proof comes to its end",
    ]);
    expect(printed).toMatch(/^napcat-vlm prove --device cpu --quick, \d{4}-/);
    expect(printed).toMatch(/通过 · proven: every check holds\n$/);
    // What is printed is what is written.
    for (const name of names) expect(printed).toContain(`✓ ${name}: `);
  });

  it("fails where a result is too far from the reference, and takes back what was proven", async () => {
    const recorded: unknown[] = [];
    const off = parts({
      goldenErrors: async ({ name, precision }) => ({
        ...RIGHT,
        largest: name === "tiny-untied" && precision.decoder === "fp32" ? 2e-4 : 0,
      }),
      proofs: { record: async (...all) => void recorded.push(all) },
    });
    const { code, report } = await proof({}, off);
    expect(code).toBe(1);
    const failed = report.checks.filter(({ ok }: { ok: boolean }) => !ok);
    expect(failed.map(({ name }: { name: string }) => name)).toEqual([
      "the golden checkpoint tiny-untied (fp32)",
    ]);
    expect(printed).toMatch(/not proven: see ✗ above\n$/);
    // The CPU is proven by tests, and nothing is kept of it.
    expect(recorded).toEqual([]);
  });

  it("fails where a check of behaviour does, or one cannot be made", async () => {
    const wrong = parts({
      checkBehaviour: async ({ checks }) => {
        await checks.run("is right", async () => ({ ok: false, value: "wrong" }));
        await checks.run("can be asked", () => Promise.reject(new Error("It cannot.")));
        return undefined;
      },
    });
    const { code, report } = await proof({}, wrong);
    expect(code).toBe(1);
    expect(report.checks).toContainEqual({ name: "is right", ok: false, value: "wrong" });
    expect(report.checks).toContainEqual({ name: "can be asked", ok: false, value: "It cannot." });
  });

  it("fails where something breaks between its checks, and its report is written all the same", async () => {
    const broken = parts({ checkBehaviour: () => Promise.reject(new Error("Out of luck.")) });
    const { code, report } = await proof({}, broken);
    expect(code).toBe(1);
    expect(report.checks.at(-1)).toEqual({
      name: "the proof comes to its end",
      ok: false,
      value: "Out of luck.",
    });
  });

  it("is not proven when it is stopped before its end, and its report says what was found", async () => {
    const controller = new AbortController();
    onPrint = () => {
      if (/tiny-tied \(fp32\)/.test(printed)) controller.abort(new Error("Asked to stop."));
    };
    vi.stubEnv("TMPDIR", await tempDir());
    vi.stubEnv("TEMP", process.env.TMPDIR);
    const { code, report, names } = await proof(
      { signal: controller.signal },
      parts({ goldenErrors }),
    );
    expect(code).toBe(1);
    expect(printed).toMatch(/not proven: it was stopped before its end\n$/);
    expect(report).toMatchObject({ device: "cpu", speed: [], machine: MACHINE });
    // What it was in the middle of is no finding.
    expect(names).toEqual([
      "the device is there",
      "the golden checkpoint tiny-tied (fp32)",
      "the proof comes to its end",
    ]);
    expect(report.checks.at(-1)).toMatchObject({ ok: false, value: "it was stopped" });
    // And nothing is left behind.
    const left = await readdir(process.env.TMPDIR!);
    expect(left.filter((name) => name.startsWith("napcat-vlm-prove-"))).toEqual([]);
  });

  it("names a precision that the device does not have, in which it is neither proven nor refuted", async () => {
    const why = "there are no 16-bit floats";
    const some = parts({
      missingFormat: async (_, { decoder }) => (decoder === "q4" ? why : undefined),
    });
    const { code, report, names } = await proof({}, some);
    expect(code).toBe(0);
    expect(report.machine.leftOut).toEqual([{ name: "the device in q4", why }]);
    expect(printed).toContain(`– the device in q4: 未做 · left out: ${why}\n`);
    expect(names.join()).not.toContain("q4");
  });

  it("leaves large weights out when it is to be quick", async () => {
    const { report } = await proof({ quick: true });
    expect(report.machine).not.toHaveProperty("rooflines");
  });

  it("asks 200 times in one precision through a driver that computes on the CPU", async () => {
    const quick: boolean[] = [];
    const slow = parts({
      checkBehaviour: async (work) => {
        quick.push(work.quick);
        // Whatever is measured afterwards is no matter of this test.
        if (quick.length === 4) throw new Error("enough");
        return 1000;
      },
    });
    const json = join(await tempDir(), "proof.json");
    const { signal } = new AbortController();
    vi.mocked(tryDevice).mockResolvedValueOnce();
    await prove({ device: "webgpu", json, quick: false }, signal, slow);
    expect(quick).toEqual([false, true, true, true]);
    expect(JSON.parse(await readFile(json, "utf8")).machine.leftOut).toHaveLength(2);
  });

  it("ends where the device is not there, with what is missing", async () => {
    vi.mocked(tryDevice).mockRejectedValueOnce(new Error("There is no driver."));
    const asked = vi.fn();
    const { code, report } = await proof({}, parts({ checkBehaviour: asked }));
    expect(code).toBe(1);
    expect(report.checks).toEqual([
      { name: "the device is there", ok: false, value: "There is no driver." },
    ]);
    expect(asked).not.toHaveBeenCalled();
  });

  it("says where a driver is to be had that needs no card", () => {
    expect(whereSoftwareIs("linux")).toMatch(/libvulkan1 and mesa-vulkan-drivers/);
    expect(whereSoftwareIs("win32")).toBe("");
  });

  it("is told before it begins that its report cannot be written", async () => {
    const directory = await tempDir();
    for (const json of [directory, join(directory, "none", "proof.json")]) {
      const command = { device: "cpu", json, quick: true } as const;
      const proven = prove(command, new AbortController().signal, parts());
      await expect(proven).rejects.toThrow(UsageError);
      await expect(proven).rejects.toThrow(/--json cannot be written to/);
    }
    expect(printed).toBe("");
    // A file that is there is left as it was until there is something to write.
    const json = join(directory, "proof.json");
    await writeFile(json, "before");
    const stopped = AbortSignal.abort(new Error("stopped"));
    expect(await prove({ device: "cpu", json, quick: true }, stopped, parts())).toBe(1);
    expect(JSON.parse(await readFile(json, "utf8")).checks).toHaveLength(1);
  });

  it("does not tell whose home a path is in", () => {
    const path = join(homedir(), "wheels", "libcudart.so");
    expect(withoutHome(`cannot load ${path}`)).toBe(
      `cannot load ${join("~", "wheels", "libcudart.so")}`,
    );
    expect(withoutHome("/usr/lib", "/")).toBe("/usr/lib");
  });
});

const MACHINE = {
  command: "napcat-vlm prove --device cpu --quick",
  version: expect.any(String),
  node: process.version,
  threads: expect.any(Number),
};

it("tells which device it took, and why, when none was named", async () => {
  expect(await announcedDevice("cuda:1")).toBe("cuda:1");
  expect(printed).toBe("");
  const device = await announcedDevice("auto");
  expect(printed).toContain(`The device "auto" is ${device}`);
});
