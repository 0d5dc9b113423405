// The CUDA libraries that the provider needs, and CUDA's compiler, from the wheels that NVIDIA publishes for Python: no
// toolkit, no Python. In: CUDA's major version. Out: the libraries beside the provider; and the wheel that has the provider
// itself. An index of packages (PyPI or a mirror) names the files and their hashes.

import { join } from "node:path";
import { disk } from "../../disk.ts";
import { compilerNames, cudaLibraryNames, findCompiler } from "../../vlm/runtime/cuda-libraries.ts";
import type { CudaMajor } from "../../vlm/runtime/provider-directory.ts";
import { extract } from "./archive.ts";
import { type DownloadOptions, download, downloadText } from "./download.ts";

export const PYPI = "https://pypi.org/simple/";

export interface WheelRequest {
  readonly cuda: CudaMajor;
  readonly platform: "linux/x64" | "win32/x64";
  /** Where the libraries go. */
  readonly directory: string;
  /** An index as pip takes it. @default PyPI */
  readonly index: string;
  readonly onFile: (name: string) => void;
}

/** A wheel as an index names it. */
export interface Wheel {
  readonly name: string;
  readonly url: URL;
  readonly sha256: string | undefined;
}

/** Fetches what is missing. @throws DownloadError; Error when the index has no wheel or a wheel lacks a library */
export async function fetchCudaLibraries(
  request: WheelRequest,
  options: DownloadOptions,
): Promise<void> {
  const { cuda, platform, directory } = request;
  const missing = new Map<string, string>();
  const system = platform === "win32/x64" ? "win32" : "linux";
  for (const name of cudaLibraryNames(cuda, system)) {
    const path = join(directory, name);
    if ((await disk.fileSize(path)) === undefined) missing.set(name, `${path}.new`);
  }
  for (const project of ["cuda-runtime", "cublas", "curand"]) {
    if (missing.size === 0) break;
    await take(await findWheel(project, request, options), missing, request, options);
  }
  if (missing.size > 0) throw new Error(`the wheels lack ${[...missing.keys()].join(", ")}`);
  if (findCompiler(cuda, { beside: directory, platform: system }) === undefined) {
    const wheel = await findWheel("cuda-nvrtc", request, options);
    const wanted = compilerFiles(cuda, versionOf(wheel.name), system);
    const names = new Map(wanted.map((name) => [name, join(directory, `${name}.new`)]));
    await take(wheel, names, request, options);
    if (names.size > 0) throw new Error(`${wheel.name} lacks ${[...names.keys()].join(", ")}`);
  }
}

/** Downloads a wheel and takes out what is missing, which is then missing no more. */
async function take(
  wheel: Wheel,
  missing: Map<string, string>,
  { directory, onFile }: WheelRequest,
  options: DownloadOptions,
): Promise<void> {
  onFile(wheel.name);
  const file = join(directory, wheel.name);
  await download(wheel.url, file, { ...options, sha256: wheel.sha256 });
  for (const name of await extract(file, missing, options.signal)) {
    await disk.moveFile(join(directory, `${name}.new`), join(directory, name));
    missing.delete(name);
  }
  await disk.remove(file);
}

/** The compiler and what it needs, whose name ends with the minor version. */
function compilerFiles(
  cuda: CudaMajor,
  [major = cuda, minor = 0]: readonly number[],
  system: "win32" | "linux",
): readonly string[] {
  const [builtins, compiler] = compilerNames(cuda, system);
  const whole =
    system === "win32" ? `nvrtc-builtins64_${major}${minor}.dll` : `${builtins}${minor}`;
  return [whole, compiler];
}

/**
 * The wheel with ONNX Runtime's provider for CUDA 13, whichever Python it is for: its libraries are none of Python's.
 *
 * @throws DownloadError; Error when the index has none
 */
export async function findProviderWheel(
  version: string,
  { platform, index }: Pick<WheelRequest, "platform" | "index">,
  options: DownloadOptions,
): Promise<Wheel> {
  const { page, wheels } = await wheelsOf("onnxruntime-gpu", { platform, index }, options);
  const [wheel] = wheels
    .filter(({ name }) => name.startsWith(`onnxruntime_gpu-${version}-`))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  if (wheel === undefined) {
    throw new Error(`${page.host} has no wheel of onnxruntime-gpu ${version} for ${platform}`);
  }
  return wheel;
}

/** All wheels of a project for this platform. */
async function wheelsOf(
  project: string,
  { platform, index }: Pick<WheelRequest, "platform" | "index">,
  options: DownloadOptions,
) {
  const page = new URL(`${project}/`, index.endsWith("/") ? index : `${index}/`);
  const wheels = parseIndex(await downloadText(page, options), page).filter(({ name }) =>
    platform === "win32/x64" ? /win_amd64/.test(name) : /linux[\w.]*_x86_64/.test(name),
  );
  return { page, wheels };
}

/** The newest wheel of one of NVIDIA's projects for this platform and major version. */
async function findWheel(
  name: string,
  { cuda, platform, index }: WheelRequest,
  options: DownloadOptions,
): Promise<Wheel> {
  const project = cuda === 12 ? `nvidia-${name}-cu12` : `nvidia-${name}`;
  const { page, wheels } = await wheelsOf(project, { platform, index }, options);
  // cuRAND counts by itself: every version of the newer projects is of CUDA 13.
  const fitting = wheels.filter(({ name }) => {
    const major = versionOf(name)[0] ?? 0;
    return project.includes("curand") ? major >= 10 : major === cuda;
  });
  const [newest] = fitting.toSorted((a, b) => compare(versionOf(b.name), versionOf(a.name)));
  if (newest === undefined)
    throw new Error(`${page.host} has no wheel of ${project} for CUDA ${cuda}`);
  return newest;
}

/** Links of a "simple" index page: file names with their hashes behind `#sha256=`. */
function parseIndex(html: string, page: URL): Wheel[] {
  return [...html.matchAll(/<a\b[^>]*\bhref="([^"]+)"/g)].flatMap(([, href = ""]) => {
    const url = new URL(href.replaceAll("&amp;", "&"), page);
    const name = decodeURIComponent(url.pathname.split("/").at(-1) ?? "");
    if (!name.endsWith(".whl")) return [];
    const sha256 = /^#sha256=([0-9a-f]{64})$/.exec(url.hash)?.[1];
    url.hash = "";
    return [{ name, url, sha256 }];
  });
}

/** `nvidia_cublas-13.1.0.3-py3-none-....whl` as [13, 1, 0, 3]. */
function versionOf(wheel: string): number[] {
  return (wheel.split("-")[1] ?? "").split(".").map(Number);
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
