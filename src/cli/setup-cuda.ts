// Fetches ONNX Runtime's CUDA provider with onnxruntime-node's own installer, and says what came of it.
// It knows nothing of drivers: `napcat-vlm doctor --device cuda:0` tells whether the device works.

import { spawn } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { complain, print } from "./terminal.ts";

const FILES = ["libonnxruntime_providers_cuda.so", "libonnxruntime_providers_shared.so"];

export interface SetupCudaOptions {
  /** Install again what is there already. */
  readonly force: boolean;
  readonly signal: AbortSignal;
  /** Root of onnxruntime-node, for tests. */
  readonly packageDir?: string;
  readonly platform?: string;
}

/** Resolves to the exit code. */
export async function setupCuda(options: SetupCudaOptions): Promise<number> {
  const { force, signal, platform = `${process.platform}/${process.arch}` } = options;
  if (platform !== "linux/x64") {
    complain(
      `onnxruntime-node 只为 Linux x64 提供 CUDA · onnxruntime-node has CUDA for linux/x64 only, this is ${platform}.`,
    );
    return 1;
  }
  const packageDir = options.packageDir ?? findPackage();
  const binaries = join(packageDir, "bin", "napi-v6", platform);
  if (!force && missingFiles(binaries).length === 0) {
    print(`CUDA 组件已安装 · already installed: ${binaries} (--force 重新安装 installs again)`);
    return 0;
  }

  print(
    "从 api.nuget.org 下载 CUDA 组件，文件很大 · downloading the CUDA provider, a large file …",
  );
  const { code, output } = await runInstaller(packageDir, signal);
  signal.throwIfAborted();
  const missing = missingFiles(binaries);
  if (code === 0 && missing.length === 0) {
    print(`已安装 · installed: ${FILES.join(", ")} -> ${binaries}`);
    print(
      "还需要 NVIDIA 驱动、CUDA 12 和 cuDNN 9 · the NVIDIA driver, CUDA 12 and cuDNN 9 are needed too.",
    );
    print("检查 · check: napcat-vlm doctor --device cuda:0");
    return 0;
  }
  complain(`未能安装 · not installed: ${explain(output, missing)}`);
  return 1;
}

function findPackage(): string {
  return dirname(createRequire(import.meta.url).resolve("onnxruntime-node/package.json"));
}

function missingFiles(binaries: string): string[] {
  return FILES.filter((file) => {
    const path = join(binaries, file);
    return !existsSync(path) || statSync(path).size === 0;
  });
}

interface InstallerResult {
  readonly code: number | null;
  readonly output: string;
}

function runInstaller(packageDir: string, signal: AbortSignal): Promise<InstallerResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      // Not `=cuda12`: the installer of 1.30.0 reads that as no flag at all, and does nothing under npm.
      [join(packageDir, "script", "install.js"), "--onnxruntime-node-install"],
      { cwd: packageDir, env: installerEnvironment(), stdio: ["ignore", "pipe", "pipe"], signal },
    );
    let output = "";
    const listen = (chunk: Buffer) => {
      const text = chunk.toString();
      output = (output + text).slice(-20_000);
      for (const line of text.split("\n")) {
        if (/^(Downloading|Extracting) /.test(line)) print(line);
      }
    };
    child.stdout.on("data", listen);
    child.stderr.on("data", listen);
    child.on("error", (error) => reject(signal.aborted ? signal.reason : error));
    child.on("close", (code) => resolve({ code, output }));
  });
}

/** Variables that would tell the installer something else are left out; the usual proxy is passed on. */
function installerEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(npm_config_)?onnxruntime_node_install/i.test(name),
  );
  const env: NodeJS.ProcessEnv = Object.fromEntries(kept);
  const proxy = env.https_proxy ?? env.HTTPS_PROXY;
  if (proxy !== undefined && proxy !== "") env.GLOBAL_AGENT_HTTPS_PROXY ??= proxy;
  return env;
}

/** One sentence out of whatever the installer said. */
function explain(output: string, missing: readonly string[]): string {
  const network = /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH)\b/.exec(
    output,
  );
  if (network) {
    return (
      `api.nuget.org 无法访问 · cannot be reached (${network[1]}). ` +
      "联网或设置 HTTPS_PROXY 后再试 · connect this machine or set HTTPS_PROXY and try again."
    );
  }
  if (/\b(EACCES|EPERM|EROFS)\b/.test(output)) {
    return "没有写入权限 · the directory of onnxruntime-node cannot be written.";
  }
  if (/\bENOSPC\b/.test(output)) return "磁盘已满 · the disk is full.";
  const error = /^(?:\w*Error|Failed).*$/m.exec(output)?.[0] ?? output.trim().split("\n").at(-1);
  return `${error || "the installer said nothing"}${missing.length > 0 ? ` (缺少 missing: ${missing.join(", ")})` : ""}`;
}
