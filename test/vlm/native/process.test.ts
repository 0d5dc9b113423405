// Machines where a native library does not load, played by stubs that are in the process before anything else.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { build, ROOT, removeBuild } from "../../cli/command.ts";
import { bundleChild, type Child } from "../../support/child-process.ts";
import { Running } from "../../support/running.ts";

let child: Child;
let cli: string;
let stubs: string;
beforeAll(async () => {
  stubs = await mkdtemp(join(tmpdir(), "napcat-vlm-stubs-"));
  child = await bundleChild(new URL("./children/load-model.ts", import.meta.url));
  cli = build();
});
afterAll(async () => {
  removeBuild(cli);
  await Promise.all([child.remove(), rm(stubs, { recursive: true, force: true })]);
});

const failingKoffi = (message: string) => `
  const koffi = require("koffi");
  const { load } = koffi;
  koffi.load = (path, ...rest) => {
    if (/onnxruntime/.test(path)) throw new Error(${JSON.stringify(message)});
    return load(path, ...rest);
  };`;
const NO_GLIBC = `
  const { getReport } = process.report;
  process.report.getReport = () => {
    const report = getReport.call(process.report);
    delete report.header.glibcVersionRuntime;
    return report;
  };`;
const AS_WINDOWS = `
  require("sharp");
  Object.defineProperty(process, "platform", { value: "win32" });`;

interface Machine {
  readonly stub: string;
  /** In the sentence, and in what doctor says. */
  readonly says: readonly string[];
}

const MACHINES: Readonly<Record<string, Machine>> = {
  Alpine: {
    stub:
      NO_GLIBC +
      failingKoffi(
        "Error loading shared library ld-linux-x86-64.so.2: No such file or directory (needed by /x)",
      ),
    says: ["musl", "Debian"],
  },
  "an old glibc": {
    stub: failingKoffi(
      "/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.99' not found (required by /x)",
    ),
    says: ["glibc 2.99"],
  },
  "Windows without the Visual C++ runtime": {
    stub:
      failingKoffi("Failed to load shared library: The specified module could not be found.") +
      AS_WINDOWS,
    says: ["Visual C++ 2015-2022", "https://aka.ms/"],
  },
  "a CPU without x86-64-v2": {
    stub: `
      const { createRequire } = require("node:module");
      const binary = "@img/sharp-linux-x64/sharp.node";
      createRequire(require.resolve("sharp"))(binary)._isUsingX64V2 = () => false;`,
    says: ["x86-64-v2", "host"],
  },
  Electron: {
    stub: `Object.defineProperty(process, "versions",
      { value: { ...process.versions, electron: "36.0.0" } });`,
    says: ["Electron", "Node.js"],
  },
  Bun: {
    stub: `Object.defineProperty(process, "versions",
      { value: { ...process.versions, bun: "1.3.0" } });`,
    says: ["Bun", "Node.js"],
  },
  Deno: { stub: "globalThis.Deno = { version: {} };", says: ["Deno", "Node.js"] },
};

/** Where `require` finds this package's dependencies. */
const REQUIRE = `const require_ = require("node:module").createRequire(${JSON.stringify(join(ROOT, "package.json"))});`;

async function writeStub(stub: string): Promise<string> {
  const path = join(stubs, `${Math.random().toString(36).slice(2)}.cjs`);
  await writeFile(path, `${REQUIRE}\n((require) => {${stub}\n})(require_);`);
  return path;
}

const cases = Object.entries(MACHINES).filter(
  ([name]) =>
    name !== "a CPU without x86-64-v2" || `${process.platform}-${process.arch}` === "linux-x64",
);

describe.each(cases)("on %s", (_name, { stub, says }) => {
  it("the package can be imported, and loading a model says why not", async () => {
    const env = { NODE_OPTIONS: `--require ${JSON.stringify(await writeStub(stub))}` };
    const loading = new Running(child.script, [inject("tinyChatPackage")], env);
    const { code, output } = await loading.ended();
    expect(code).toBe(0);
    const said = JSON.parse(output.slice(output.indexOf("{")));
    expect(said).toMatchObject({ imported: true, name: "ModelLoadError", code: "session-failed" });
    for (const word of says) expect(said.message).toContain(word);
    expect(said.message).not.toContain("\n");
  });
});

/** Each kind of check that can fail here: the runtime, sharp, all of them. */
const DOCTORED = ["Alpine", "a CPU without x86-64-v2", "Electron"];

describe.each(cases.filter(([name]) => DOCTORED.includes(name)))("on %s", (name, machine) => {
  it("doctor says the same and runs all its checks", async () => {
    const { stub, says } = machine;
    const env = { NODE_OPTIONS: `--require ${JSON.stringify(await writeStub(stub))}` };
    const language = name === "Electron" ? "zh" : "en";
    const args = ["doctor", "--json", "--port=0", `--lang=${language}`];
    const doctor = new Running(
      join(cli, "cli.js"),
      [...args, "--model", inject("tinyChatPackage")],
      env,
    );
    const { code, output } = await doctor.ended();
    expect(code).toBe(1);
    const { ready, findings } = JSON.parse(output.slice(output.indexOf("{")));
    expect(ready).toBe(false);
    const failed = findings.filter(({ verdict }: { verdict: string }) => verdict === "fail");
    const advice = failed.map((finding: { advice: string }) => finding.advice).join("\n");
    for (const word of says) expect(advice).toContain(word);
    const names =
      language === "en" ? ["Pictures", "Tokenizer", "Model"] : ["图片解码", "分词器", "模型"];
    expect(findings.map(({ what }: { what: string }) => what)).toEqual(
      expect.arrayContaining(["ONNX Runtime", ...names, "NapCat"]),
    );
  });
});

describe("on a sound machine", () => {
  it("the same program loads the model", async () => {
    const { output } = await new Running(child.script, [inject("tinyChatPackage")]).ended();
    expect(JSON.parse(output)).toEqual({ imported: true, loaded: true });
  });
});
