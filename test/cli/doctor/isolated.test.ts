import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { describeCrash } from "../../../src/cli/doctor/crash.ts";
import type { Finding } from "../../../src/cli/doctor/finding.ts";
import { isolated } from "../../../src/cli/doctor/isolated.ts";
import { resolveSettings } from "../../../src/cli/settings.ts";
import { tempDir } from "../../support/temp-dir.ts";

const settings = resolveSettings({ device: "webgpu" }, {});

/** Runs a check whose process is a script of the test's. */
async function check(script: string, options: { timeoutMs?: number; signal?: AbortSignal } = {}) {
  const child = join(await tempDir(), "child.cjs");
  await writeFile(child, script);
  const { signal = new AbortController().signal, ...rest } = options;
  return (await isolated("runtime", { child, ...rest })({ settings, signal })) as Finding;
}

describe("isolated", () => {
  it("gives the settings to the process and brings its findings back", async () => {
    const script = `process.once("message", ({ device }) => {
      process.send([{ verdict: "ok", what: process.argv[2], found: device }], () => process.exit());
    });`;
    expect(await check(script)).toEqual([{ verdict: "ok", what: "runtime", found: "webgpu" }]);
  });

  it.each(["SIGSEGV", "SIGILL", "SIGABRT"] as const)("survives %s", async (name) => {
    const finding = await check(`process.kill(process.pid, "${name}"); setInterval(() => {}, 1e3)`);
    expect(finding).toMatchObject({ verdict: "fail", what: "ONNX Runtime" });
    expect(JSON.stringify(finding.found)).toContain(`crashed (${name})`);
    expect(finding.advice).toMatchObject({ zh: expect.any(String), en: expect.any(String) });
  });

  it("tells what a process said that threw", async () => {
    const { found } = await check(`throw new TypeError("koffi is not what it was")`);
    expect(found).toMatchObject({
      en: "the process of this check crashed (1): TypeError: koffi is not what it was",
    });
  });

  it("ends a process that hangs", async () => {
    const { found } = await check("setInterval(() => {}, 1e3)", { timeoutMs: 50 });
    expect(found).toMatchObject({ en: "did not end in time" });
  });

  it("ends with the reason of an abort", async () => {
    const controller = new AbortController();
    const checking = check("setInterval(() => {}, 1e3)", { signal: controller.signal });
    setImmediate(() => controller.abort(new Error("stop")));
    await expect(checking).rejects.toThrow("stop");
  });
});

describe("describeCrash", () => {
  const ended = { signal: null, timedOut: false, stderr: "" };

  it.each([
    [3221225477, "memory"],
    [3221225501, "VM's CPU type to host"],
    [3221225781, "Visual C++"],
    [3221225794, "Visual C++"],
    [3221226505, "install again"],
    [139, "memory"],
    [137, "Too little memory".toLowerCase()],
  ])("knows what %i means", (code, words) => {
    const said = JSON.stringify(describeCrash({ ...ended, code }));
    expect(said).toContain(String(code));
    expect(said.toLowerCase()).toContain(words.toLowerCase());
  });
});
