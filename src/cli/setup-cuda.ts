// `napcat-vlm setup-cuda`: ONNX Runtime's CUDA provider, and on request the CUDA libraries, where the runtime finds them.
// In: what to take and from where. Out: what it chose and why, what it did, an exit code. Whether the card works, `doctor
// --device cuda:0` tells.

import { createHash } from "node:crypto";
import { basename, join } from "node:path";
import { disk } from "../disk.ts";
import { DiskError } from "../disk-error.ts";
import { findCudaLibraries } from "../vlm/runtime/cuda-libraries.ts";
import { ORT_VERSION } from "../vlm/runtime/ort-library.ts";
import {
  type CudaMajor,
  providerDirectory,
  providerFiles,
} from "../vlm/runtime/provider-directory.ts";
import {
  type CudaFacts,
  chooseCuda,
  driverTooOld,
  readCudaFacts,
} from "./setup-cuda/choose-cuda.ts";
import { fetchCudaLibraries, findProviderWheel, PYPI } from "./setup-cuda/cuda-wheels.ts";
import { DownloadError, type DownloadOptions, download } from "./setup-cuda/download.ts";
import { installProvider, WrongProviderError } from "./setup-cuda/install-provider.ts";
import { findSource } from "./setup-cuda/source.ts";
import { complain, print } from "./terminal.ts";

export interface SetupCudaOptions {
  /** Install again what is there already. */
  readonly force: boolean;
  readonly signal: AbortSignal;
  /** @default chosen by the driver */
  readonly cuda?: CudaMajor | undefined;
  /** A NuGet feed, a directory on the web, or one file there. */
  readonly mirror?: string | undefined;
  /** An archive or a directory on this machine, instead of a download. */
  readonly from?: string | undefined;
  /** What the archive must hash to. */
  readonly sha256?: string | undefined;
  /** Fetch the CUDA libraries too, from wheels. @default false */
  readonly libraries?: boolean | undefined;
  /** Index of the wheels. @default PyPI */
  readonly pypi?: string | undefined;
  /** For tests. */
  readonly platform?: string;
  readonly cacheDir?: string;
  readonly facts?: CudaFacts;
  readonly pauseMs?: number;
  readonly client?: DownloadOptions["client"];
}

const MIRROR_ADVICE =
  "可用 --mirror URL 指定镜像，或先下载文件再用 --from FILE；代理请设置 HTTPS_PROXY · name a mirror with --mirror URL, or a downloaded file with --from FILE; set HTTPS_PROXY behind a proxy";

/** Where the files lie is not an option: the runtime looks for them there. */
const DIRECTORY_ADVICE =
  process.platform === "win32"
    ? "目录由 LOCALAPPDATA 决定 · the directory follows LOCALAPPDATA"
    : "目录由 XDG_CACHE_HOME 决定（默认 ~/.cache），启动时也要设置 · the directory follows XDG_CACHE_HOME (~/.cache by default), which the start needs as well";

/** Resolves to the exit code. */
export async function setupCuda(options: SetupCudaOptions): Promise<number> {
  const { signal, platform = `${process.platform}/${process.arch}` } = options;
  if (platform !== "linux/x64" && platform !== "win32/x64") {
    complain(
      `ONNX Runtime 的 CUDA 组件只有 Linux x64 和 Windows x64 · ONNX Runtime has CUDA for linux/x64 and win32/x64 only, this is ${platform}.`,
    );
    return 1;
  }
  try {
    return await install(options, platform);
  } catch (error) {
    signal.throwIfAborted();
    const advice =
      error instanceof DownloadError
        ? ` ${MIRROR_ADVICE}.`
        : error instanceof DiskError
          ? ` ${DIRECTORY_ADVICE}.`
          : "";
    if (!isForeseen(error)) throw error;
    complain(`未能安装 · not installed: ${(error as Error).message}${advice}`);
    return 1;
  }
}

async function install(
  options: SetupCudaOptions,
  platform: "linux/x64" | "win32/x64",
): Promise<number> {
  const directoryOf = (cuda: CudaMajor) => providerDirectory(ORT_VERSION, cuda, options.cacheDir);
  const facts = options.facts ?? (await readCudaFacts(directoryOf(13)));
  const { cuda, why } = chooseCuda(options.cuda, facts);
  const { zh, en } = typeof why === "string" ? { zh: why, en: why } : why;
  print(`CUDA ${cuda}: ${zh} · ${en}`);
  if (driverTooOld(cuda, facts)) {
    complain(
      `驱动太旧，请先更新 · the driver ${facts.driver} is too old for CUDA ${cuda}: update it`,
    );
  }
  const directory = directoryOf(cuda);
  await disk.makeDirectory(directory);
  const files = providerFiles(platform.split("/")[0]);
  const sizes = await Promise.all(files.map((name) => disk.fileSize(join(directory, name))));
  if (!options.force && sizes.every((size) => (size ?? 0) > 0)) {
    print(`CUDA 组件已安装 · already installed: ${directory} (--force 重新安装 installs again)`);
  } else {
    await fetchProvider({ cuda, platform, directory }, options);
    print(`已安装 · installed: ${files.join(", ")} -> ${directory}`);
  }
  await provideLibraries({ cuda, platform, directory }, options);
  print("检查 · check: napcat-vlm doctor --device cuda:0");
  return 0;
}

interface Place {
  readonly cuda: CudaMajor;
  readonly platform: "linux/x64" | "win32/x64";
  readonly directory: string;
}

async function fetchProvider(place: Place, options: SetupCudaOptions): Promise<void> {
  const { cuda, platform, directory } = place;
  const { signal, sha256 } = options;
  const system = platform.split("/")[0] ?? platform;
  const request = { directory, version: ORT_VERSION, cuda, platform: system, signal };
  if (options.from !== undefined) {
    print(`从文件安装 · taking it from ${options.from}`);
    if (sha256 !== undefined) await assertHash(options.from, sha256, signal);
    return installProvider({ ...request, from: options.from });
  }
  const downloading = downloadOptions(options);
  const source = { cuda, platform, version: ORT_VERSION, mirror: options.mirror };
  const fetchFrom = async (url: URL, expected: string | undefined) => {
    const archive = join(directory, basename(url.pathname));
    print(`下载 · downloading ${archiveName(url)} …`);
    print(`SHA-256 ${await download(url, archive, { ...downloading, sha256: expected })}`);
    return archive;
  };
  const archive = await findSource(source, downloading)
    .then((url) => fetchFrom(url, sha256))
    .catch(async (error: unknown) => {
      signal.throwIfAborted();
      // What somebody named is taken, or nothing.
      const named = options.mirror !== undefined || sha256 !== undefined;
      if (!(error instanceof DownloadError) || named || cuda !== 13) throw error;
      print(
        `${error.message} 改用 PyPI 的 wheel · taking the wheel onnxruntime-gpu from PyPI instead`,
      );
      const wheels = { platform, index: options.pypi ?? PYPI };
      return findProviderWheel(ORT_VERSION, wheels, downloading)
        .then((wheel) => fetchFrom(wheel.url, wheel.sha256))
        .catch((second: unknown) => {
          if (!(second instanceof DownloadError)) throw second;
          throw new DownloadError(error.problem, `${error.message} ${second.message}`, second);
        });
    });
  try {
    await installProvider({ ...request, from: archive });
  } finally {
    await disk.remove(archive);
  }
}

async function provideLibraries(place: Place, options: SetupCudaOptions): Promise<void> {
  const { cuda, platform, directory } = place;
  const system = platform.split("/")[0] ?? platform;
  const missing = () =>
    findCudaLibraries(cuda, { beside: directory, platform: system }).filter(({ found }) => !found);
  if (missing().length > 0 && options.libraries === true) {
    const index = options.pypi ?? PYPI;
    const onFile = (name: string) => print(`下载 · downloading ${name} …`);
    await fetchCudaLibraries(
      { cuda, platform, directory, index, onFile },
      downloadOptions(options),
    );
    print(`CUDA ${cuda} 的库已安装 · its libraries are installed: ${directory}`);
  }
  const names = missing().map(({ name }) => name);
  if (names.length === 0) return;
  complain(
    `没有找到 · not found: ${names.join(", ")}. 加 --libraries 下载（约 1 GB），或安装 CUDA ${cuda} toolkit · ` +
      `fetch them with --libraries (about 1 GB), or install a CUDA ${cuda} toolkit.`,
  );
}

function downloadOptions({ signal, pauseMs, client }: SetupCudaOptions): DownloadOptions {
  let shown = 0;
  return {
    signal,
    ...(pauseMs === undefined ? {} : { pauseMs }),
    ...(client === undefined ? {} : { client }),
    onProgress: (done, total) => {
      if (total === undefined) return;
      const tenth = Math.floor((done / total) * 10);
      if (tenth !== shown) print(`${tenth * 10}% · ${(done / 1e6).toFixed(0)} MB`);
      shown = tenth;
    },
  };
}

/** The host and the file: what lies between may hold a key. */
function archiveName(url: URL): string {
  return `${basename(url.pathname)} (${url.host})`;
}

async function assertHash(file: string, expected: string, signal: AbortSignal): Promise<void> {
  const hash = createHash("sha256");
  const handle = await disk.open(file, "r");
  try {
    for await (const chunk of handle.createReadStream({ signal })) hash.update(chunk as Buffer);
  } finally {
    await handle.close();
  }
  const found = hash.digest("hex");
  if (found === expected.toLowerCase()) return;
  throw new WrongProviderError(`${basename(file)} has the SHA-256 ${found} and not ${expected}`);
}

/** Trouble with networks, disks and archives; the others are bugs. */
function isForeseen(error: unknown): boolean {
  return error instanceof Error && !(error instanceof TypeError || error instanceof RangeError);
}
