import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { setupCuda } from "../../src/cli/setup-cuda.ts";

const NEVER = new AbortController().signal;
const CUDA = "libonnxruntime_providers_cuda.so";
const SHARED = "libonnxruntime_providers_shared.so";

let packageDir: string;
let binaries: string;
let printed: string;

beforeEach(() => {
  packageDir = mkdtempSync(join(tmpdir(), "napcat-vlm-cuda-"));
  binaries = join(packageDir, "bin", "napi-v6", "linux", "x64");
  mkdirSync(binaries, { recursive: true });
  mkdirSync(join(packageDir, "script"));
  printed = "";
  const write = (text: unknown) => {
    printed += String(text);
    return true;
  };
  vi.spyOn(process.stdout, "write").mockImplementation(write);
  vi.spyOn(process.stderr, "write").mockImplementation(write);
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  rmSync(packageDir, { recursive: true, force: true });
});

/** An installer of our own in place of onnxruntime-node's. */
function installer(script: string): void {
  writeFileSync(join(packageDir, "script", "install.js"), script);
}

function install(options: { force?: boolean; platform?: string; signal?: AbortSignal } = {}) {
  return setupCuda({ force: false, signal: NEVER, packageDir, platform: "linux/x64", ...options });
}

const WRITE_BOTH = `
  const { writeFileSync } = require("node:fs");
  console.log("Downloading https://api.nuget.org/x.nupkg");
  for (const name of ["${CUDA}", "${SHARED}"]) writeFileSync("bin/napi-v6/linux/x64/" + name, "so");
`;

describe("setupCuda", () => {
  it("says where there is no CUDA provider", async () => {
    expect(await install({ platform: "darwin/arm64" })).toBe(1);
    expect(printed).toMatch(/CUDA for linux\/x64 only, this is darwin\/arm64/);
  });

  it("does nothing when both files are there, unless forced", async () => {
    installer(`${WRITE_BOTH} writeFileSync("ran", "");`);
    writeFileSync(join(binaries, CUDA), "so");
    writeFileSync(join(binaries, SHARED), "so");
    expect(await install()).toBe(0);
    expect(printed).toContain("already installed");
    expect(() => readFileSync(join(packageDir, "ran"))).toThrow("ENOENT");
    expect(await install({ force: true })).toBe(0);
    readFileSync(join(packageDir, "ran"));
  });

  it("installs when one of the files is missing or empty", async () => {
    installer(WRITE_BOTH);
    writeFileSync(join(binaries, CUDA), "so");
    writeFileSync(join(binaries, SHARED), "");
    expect(await install()).toBe(0);
    expect(printed).toMatch(/Downloading https[\s\S]*已安装 · installed/);
    expect(readFileSync(join(binaries, SHARED), "utf8")).toBe("so");
  });

  it("passes the one flag that works, and a proxy, and nothing that switches the installer off", async () => {
    installer(
      `${WRITE_BOTH} writeFileSync("seen", JSON.stringify([process.argv.slice(2), process.env]));`,
    );
    vi.stubEnv("ONNXRUNTIME_NODE_INSTALL", "skip");
    vi.stubEnv("npm_config_onnxruntime_node_install_cuda", "skip");
    vi.stubEnv("HTTPS_PROXY", "http://proxy:1");
    expect(await install()).toBe(0);
    const [flags, env] = JSON.parse(readFileSync(join(packageDir, "seen"), "utf8"));
    expect(flags).toEqual(["--onnxruntime-node-install"]);
    expect(Object.keys(env).filter((name) => /onnxruntime_node/i.test(name))).toEqual([]);
    expect(env.GLOBAL_AGENT_HTTPS_PROXY).toBe("http://proxy:1");
  });

  it.each([
    ["throw new Error('getaddrinfo ENOTFOUND api.nuget.org')", "cannot be reached (ENOTFOUND)"],
    ["throw new Error('EACCES: permission denied')", "cannot be written"],
    ["throw new Error('HTTP status code = 500')", "Error: HTTP status code = 500 (缺少 missing: "],
    ["", `the installer said nothing (缺少 missing: ${CUDA}, ${SHARED})`],
  ])("says why it could not: %s", async (script, message) => {
    installer(script);
    expect(await install()).toBe(1);
    expect(printed).toContain("not installed");
    expect(printed).toContain(message);
  });

  it("ends with the reason of an abort", async () => {
    installer("setInterval(() => {}, 1000);");
    const controller = new AbortController();
    const installing = install({ signal: controller.signal });
    controller.abort(new Error("stop"));
    await expect(installing).rejects.toThrow("stop");
  });
});
