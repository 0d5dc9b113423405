// Where ONNX Runtime's CUDA provider is fetched from. In: CUDA's major version, the platform, perhaps a mirror. Out: the
// URL of one archive. CUDA 13 is what NuGet has; builds for CUDA 12 are files of the release on GitHub.

import type { CudaMajor } from "../../vlm/runtime/provider-directory.ts";
import { type DownloadOptions, downloadText } from "./download.ts";

export interface SourceRequest {
  readonly cuda: CudaMajor;
  readonly version: string;
  readonly platform: "linux/x64" | "win32/x64";
  /** Another NuGet feed or its index.json, a directory with the same files, or the URL of the file itself. */
  readonly mirror: string | undefined;
}

const NUGET = "https://api.nuget.org/v3-flatcontainer/";
const GITHUB = "https://github.com/microsoft/onnxruntime/releases/download/";
const ARCHIVE = /\.(?:nupkg|whl|zip|tgz|tar\.gz)$/;

/** @throws DownloadError when an index cannot be fetched or names no packages */
export async function findSource(request: SourceRequest, options: DownloadOptions): Promise<URL> {
  const { cuda, version, mirror } = request;
  const file = cuda === 13 ? nugetPath(request) : releaseFile(request);
  if (mirror === undefined) {
    return new URL(cuda === 13 ? `${NUGET}${file}` : `${GITHUB}v${version}/${file}`);
  }
  const url = new URL(mirror);
  if (ARCHIVE.test(url.pathname)) return url;
  if (!url.pathname.endsWith("/index.json")) return new URL(file, withSlash(url));
  return new URL(file, withSlash(await packageBase(url, options)));
}

function nugetPath({ version, platform }: SourceRequest): string {
  const system = platform === "win32/x64" ? "windows" : "linux";
  const id = `microsoft.ml.onnxruntime.gpu.${system}`;
  return `${id}/${version}/${id}.${version}.nupkg`;
}

function releaseFile({ version, platform }: SourceRequest): string {
  return platform === "win32/x64"
    ? `onnxruntime-win-x64-gpu_cuda12-${version}.zip`
    : `onnxruntime-linux-x64-gpu_cuda12-${version}.tgz`;
}

/** The index of a NuGet feed (version 3) names the place of its files. */
async function packageBase(index: URL, options: DownloadOptions): Promise<URL> {
  const { resources } = JSON.parse(await downloadText(index, options)) as {
    readonly resources?: readonly Readonly<Record<string, unknown>>[];
  };
  const base = resources?.find((each) => each["@type"] === "PackageBaseAddress/3.0.0")?.["@id"];
  if (typeof base !== "string") throw new Error(`${index.host} is no NuGet feed of version 3`);
  return new URL(base, index);
}

function withSlash(url: URL): URL {
  const copy = new URL(url);
  if (!copy.pathname.endsWith("/")) copy.pathname += "/";
  return copy;
}
