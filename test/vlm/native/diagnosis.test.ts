import { describe, expect, it } from "vitest";
import { diagnose, diagnoseHost, type NativePart } from "../../../src/vlm/native/diagnosis.ts";
import type { PlatformFacts } from "../../../src/vlm/native/platform.ts";
import { loadedLibraries, readPlatform } from "../../../src/vlm/native/platform.ts";
import { loadOrt } from "../../../src/vlm/runtime/ort.ts";

const debian: PlatformFacts = {
  platform: "linux",
  arch: "x64",
  host: "node",
  musl: false,
  glibc: "2.28",
  lacksV2: [],
  lacksVisualC: [],
  onnxRuntimes: [],
  packed: false,
};
const alpine: PlatformFacts = { ...debian, musl: true, glibc: undefined };
const windows: PlatformFacts = { ...debian, platform: "win32", glibc: undefined };
const mac: PlatformFacts = { ...windows, platform: "darwin", arch: "arm64" };

const LIBRARY = "/app/node_modules/onnxruntime-node/bin/libonnxruntime.so.1";

function why(said: string | Error, facts: PlatformFacts, part: NativePart = "ONNX Runtime") {
  const error = typeof said === "string" ? new Error(said) : said;
  return diagnose({ part, error, facts, file: { path: LIBRARY, exists: true } });
}

describe("diagnose", () => {
  it.each<[string, PlatformFacts, string, string[]]>([
    [
      "Error loading shared library ld-linux-x86-64.so.2: No such file or directory (needed by /a)",
      alpine,
      "musl",
      ["musl", "Debian", "node:22-bookworm-slim"],
    ],
    // gcompat brings the loader and little else.
    [
      "Error relocating /a/libonnxruntime.so.1: __vsnprintf_chk: symbol not found",
      alpine,
      "musl",
      [],
    ],
    ["Error loading shared library ld-linux-aarch64.so.1: No such file", debian, "musl", []],
    [
      "/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.32' not found (required by /a)",
      debian,
      "glibc-too-old",
      ["2.32", "2.28"],
    ],
    [
      "/lib/libm.so.6: version `GLIBC_2.9' not found\n/lib64/ld-linux-x86-64.so.2: version `GLIBC_2.34' not found",
      debian,
      "glibc-too-old",
      ["2.34"],
    ],
    [
      "/lib/libstdc++.so.6: version `GLIBCXX_3.4.30' not found",
      debian,
      "libstdcxx-too-old",
      ["3.4.30"],
    ],
    ["/lib/libstdc++.so.6: version `CXXABI_1.3.13' not found", debian, "libstdcxx-too-old", []],
    [
      "libstdc++.so.6: cannot open shared object file: No such file",
      debian,
      "libstdcxx-too-old",
      ["apt"],
    ],
    [
      "Failed to load shared library: The specified module could not be found.",
      windows,
      "visual-c-missing",
      ["Visual C++ 2015-2022", "https://aka.ms/vs/17/release/vc_redist.x64.exe"],
    ],
    [
      "A dynamic link library (DLL) initialization routine failed.",
      windows,
      "visual-c-missing",
      [],
    ],
    ["Failed to load shared library: 找不到指定的模块。", windows, "visual-c-missing", []],
    ["动态链接库(DLL)初始化例程失败。", windows, "visual-c-missing", []],
    ["The specified procedure could not be found.", windows, "visual-c-missing", []],
    [
      'Could not load the "sharp" module\nUnsupported CPU: Prebuilt binaries for Linux x64 require v2 microarchitecture',
      { ...debian, lacksV2: ["sse4_2", "popcnt"] },
      "cpu-too-old",
      ["x86-64-v2", "sse4_2 popcnt", "host"],
    ],
    ["/a.so: wrong ELF class: ELFCLASS32", debian, "other-platform", ["linux x64", "npm ci"]],
    ["\\\\?\\C:\\a.dll is not a valid Win32 application.", windows, "other-platform", []],
    [
      "mach-o file, but is an incompatible architecture (have 'x86_64', need 'arm64')",
      mac,
      "other-platform",
      [],
    ],
    [
      "dlopen(a): Symbol not found: _x (built for macOS 14.0 which is newer than running OS)",
      mac,
      "macos-too-old",
      [],
    ],
    ["a.so: failed to map segment from shared object", debian, "blocked", ["noexec", LIBRARY]],
    ["Access is denied.", windows, "blocked", ["virus scanner"]],
    ["An Application Control policy has blocked this file.", windows, "blocked", []],
    [
      "libgomp.so.1: cannot open shared object file: No such file",
      debian,
      "library-missing",
      ["libgomp.so.1"],
    ],
    [
      "Cannot find module '@img/sharp-linux-x64/sharp.node'",
      debian,
      "not-installed",
      ["--include=optional"],
    ],
    ["Cannot find module '@img/sharp-linuxmusl-x64/sharp.node'", alpine, "not-installed", []],
    ["something nobody has seen", debian, "unknown", ["something nobody has seen", "doctor"]],
    ["something nobody has seen", { ...debian, packed: true }, "packed", ["node_modules"]],
    ["", debian, "unknown", ["no reason was given"]],
  ])("%s", (said, facts, cause, words) => {
    const { cause: found, en, zh } = why(said, facts);
    expect(found).toBe(cause);
    for (const word of words) expect(`${en.sentence} ${en.remedy}`).toContain(word);
    expect(zh.sentence).toMatch(/ONNX Runtime/);
    for (const { sentence, remedy } of [en, zh]) {
      expect(sentence).toMatch(/[.。]$/);
      expect(remedy).not.toBe("");
    }
  });

  it("names both versions when another ONNX Runtime is there, and where it came from", () => {
    const path = "/app/node_modules/other/bin/libonnxruntime.so.1";
    const facts = { ...debian, onnxRuntimes: [{ path, version: "1.21.0" }] };
    const said = `${path}: version \`VERS_1.30.0' not found (required by /app/binding.node)`;
    const { cause, en, zh } = why(said, facts, "@huggingface/transformers");
    expect(cause).toBe("other-onnxruntime");
    for (const text of [en.sentence, zh.sentence]) {
      expect(text).toContain("1.30.0");
      expect(text).toContain("1.21.0");
      expect(text).toContain(path);
    }
    const nobody = why(said, debian, "@huggingface/transformers");
    expect(nobody.en.sentence).toContain(path);
  });

  it("blames another onnxruntime.dll for a missing procedure, where one is loaded", () => {
    const path = "C:\\Windows\\System32\\onnxruntime.dll";
    const facts = { ...windows, onnxRuntimes: [{ path, version: undefined }] };
    const { cause, en } = why("The specified procedure could not be found.", facts);
    expect(cause).toBe("other-onnxruntime");
    expect(en.sentence).toContain(path);
  });

  it("says that a file is gone, whatever the loader calls it", () => {
    const { cause, en } = diagnose({
      part: "ONNX Runtime",
      error: new Error("The specified module could not be found."),
      facts: windows,
      file: { path: LIBRARY, exists: false },
    });
    expect(cause).toBe("file-missing");
    expect(en.sentence).toContain(LIBRARY);
  });

  it("names missing files of the Visual C++ runtime, and the one for ARM", () => {
    const facts = { ...windows, arch: "arm64", lacksVisualC: ["msvcp140.dll"] };
    const { cause, en } = why("odd", facts);
    expect(cause).toBe("visual-c-missing");
    expect(en.sentence).toContain("msvcp140.dll");
    expect(en.remedy).toContain("vc_redist.arm64.exe");
  });

  it("reads causes and codes inside an error", () => {
    const inner = Object.assign(new Error("x"), { code: "ERR_MODULE_NOT_FOUND" });
    expect(why(new Error("outer", { cause: inner }), debian).cause).toBe("not-installed");
  });

  it.each(["bun", "deno", "electron"] as const)("refuses %s before anything is loaded", (host) => {
    const { cause, en } = why("anything", { ...debian, host });
    expect(cause).toBe("host-unsupported");
    expect(en.sentence).toMatch(/Bun|Deno|Electron/);
    expect(diagnoseHost(host)?.zh.remedy).toContain("Node.js");
    expect(diagnoseHost("node")).toBeUndefined();
  });
});

describe("readPlatform", () => {
  it("reads this machine", () => {
    const facts = readPlatform();
    expect(facts).toMatchObject({ platform: process.platform, arch: process.arch, host: "node" });
    expect(facts.packed).toBe(false);
    if (process.platform === "linux") expect(facts.musl).toBe(facts.glibc === undefined);
  });

  it("finds the ONNX Runtime that is loaded, with its version", () => {
    const { version } = loadOrt();
    expect(loadedLibraries("onnxruntime")).toEqual([
      { path: expect.stringMatching(/onnxruntime-node[\\/]bin/), version },
    ]);
  });
});
