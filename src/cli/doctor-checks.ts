// The checks of `napcat-vlm doctor` that ask something else than Node itself. In: settings. Out: findings.
// A check that breaks is a finding too, never an exception.

import { availableParallelism, cpus } from "node:os";
import { openCheckpoint } from "../vlm/checkpoint/open-checkpoint.ts";
import { choosePrecision, defaultPackageDir } from "../vlm/convert/ensure-package.ts";
import { isMarkedAsPackage, isPackageOf, verifyPackage } from "../vlm/convert/manifest.ts";
import { appendProvider, availableProviders } from "../vlm/runtime/device.ts";
import { loadOrt } from "../vlm/runtime/ort.ts";
import { type CpuFeatures, readCpuFeatures } from "./cpu-features.ts";
import { describeFailure } from "./errors.ts";
import type { Finding } from "./finding.ts";
import { askNapCat, NapCatCheckError, type NapCatProblem } from "./napcat-check.ts";
import { refuseTakenPort } from "./port.ts";
import type { Settings } from "./settings.ts";

const NAPCAT_TIMEOUT_MS = 5_000;

const NAPCAT_ADVICE: Readonly<Record<NapCatProblem, string>> = {
  unreachable:
    "NapCat 是否在运行，WebSocket 服务器是否已启用，地址和端口是否正确？ · Is NapCat running, its WebSocket server switched on, the address right?",
  "wrong-token": "NAPCAT_TOKEN 与 NapCat 的 token 不一致 · NAPCAT_TOKEN is not NapCat's token.",
  "no-answer": "连接后没有应答 · It did not answer. 请查看 NapCat 的日志 · See NapCat's log.",
  "not-napcat":
    "应答不像 OneBot 11 · The answer is not OneBot 11. 地址是否正确？ · Is the address right?",
};

export function checkProcessor(features: CpuFeatures = readCpuFeatures()): Finding {
  const what = "处理器 CPU";
  const model = cpus()[0]?.model.trim() || process.arch;
  const names = features.known ? features.names.join(" ") || "-" : "?";
  const found = `${model}, ${availableParallelism()} 线程 threads, ${names}`;
  const weak = features.known && process.arch === "x64" && !features.names.includes("AVX2");
  if (!weak) return { verdict: "ok", what, found };
  return {
    verdict: "warn",
    what,
    found,
    advice: "没有 AVX2，会很慢 · without AVX2 it will be slow",
  };
}

export function checkDevice(device: Settings["device"]): Finding {
  const what = "ONNX Runtime";
  let found: string = device;
  try {
    const ort = loadOrt();
    const providers = availableProviders().map((name) => name.replace("ExecutionProvider", ""));
    found = `${ort.version} (${providers.join(" ")}), ${device}`;
    // The list says what the library knows of. Asking for the provider tells whether it works.
    const options = ort.create("CreateSessionOptions");
    try {
      appendProvider(ort, options, device);
      return { verdict: "ok", what, found };
    } finally {
      ort.release("ReleaseSessionOptions", options);
    }
  } catch (error) {
    return { verdict: "fail", what, found, advice: describeFailure(error) };
  }
}

export async function checkModel(settings: Settings, signal: AbortSignal): Promise<Finding> {
  const what = "模型 Model";
  const { model } = settings;
  try {
    const found = (await isMarkedAsPackage(model))
      ? await describePackage(model, signal)
      : await describeCheckpoint(settings, signal);
    return { verdict: "ok", what, found };
  } catch (error) {
    signal.throwIfAborted();
    return { verdict: "fail", what, found: model, advice: describeFailure(error) };
  }
}

/** Reads every byte of the package: a disk that lies is found here and not in an answer. */
async function describePackage(dir: string, signal: AbortSignal): Promise<string> {
  const { source, precision, outputs } = await verifyPackage(dir, { hashes: true, signal });
  const bytes = outputs.reduce((sum, output) => sum + output.bytes, 0);
  return `${source.name}, ${precision.decoder}, ${megabytes(bytes)}, ${dir}`;
}

async function describeCheckpoint(
  { model, precision: named }: Settings,
  signal: AbortSignal,
): Promise<string> {
  const checkpoint = await openCheckpoint(model);
  await checkpoint.close();
  const precision = choosePrecision(named);
  const { decoder } = precision;
  const dir = defaultPackageDir(model, precision);
  if (await isMarkedAsPackage(dir)) {
    const manifest = await verifyPackage(dir, { hashes: true, signal });
    if (await isPackageOf(manifest, model, precision)) {
      return `${checkpoint.source.name}, ${decoder}, 已转换 converted, ${model}`;
    }
  }
  return `${checkpoint.source.name}, 首次启动时转换为 ${decoder} · to be converted by the first start, ${model}`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

export async function checkPort({ host, port }: Settings): Promise<Finding> {
  const what = "调试页 Debug page";
  const found = `${host}:${port}`;
  try {
    await refuseTakenPort(host, port);
    return { verdict: "ok", what, found };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const advice =
      code === "EADDRINUSE"
        ? "端口已被占用，可能机器人正在运行 · the port is taken, perhaps by a running bot; or use --port"
        : "请检查 · check --host, --port";
    return { verdict: "warn", what, found: `${found} (${code})`, advice };
  }
}

export async function checkNapCat({ napcat }: Settings, signal: AbortSignal): Promise<Finding> {
  const what = "NapCat";
  if (napcat === undefined) {
    const advice =
      "只用调试页时不需要 · not needed for the debug page; else --napcat ws://127.0.0.1:3001";
    return { verdict: "warn", what, found: "未配置 not configured", advice };
  }
  const { host } = new URL(napcat.url);
  try {
    const timeoutMs = NAPCAT_TIMEOUT_MS;
    const { selfId, app } = await askNapCat(napcat.url, napcat.token, { timeoutMs, signal });
    return { verdict: "ok", what, found: `${host}, ${app}, QQ ${selfId}` };
  } catch (error) {
    const problem = error instanceof NapCatCheckError ? error.problem : "unreachable";
    return { verdict: "fail", what, found: `${host} (${problem})`, advice: NAPCAT_ADVICE[problem] };
  }
}
