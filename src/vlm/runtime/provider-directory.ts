// Where the libraries of ONNX Runtime's CUDA provider lie: `setup-cuda` puts them there, the runtime looks for them there.
// Out: paths; nothing is created or loaded.

import { type Stats, statSync } from "node:fs";
import { join } from "node:path";
import { userCacheDir } from "../convert/user-cache-dir.ts";

/** Major versions of CUDA that providers are built for. */
export type CudaMajor = 12 | 13;

/**
 * One directory for each version of ONNX Runtime and of CUDA: core and provider must be of one release.
 *
 * @example `~/.cache/napcat-vlm/onnxruntime-1.30.0-cuda13`
 */
export function providerDirectory(
  ortVersion: string,
  cudaMajor: CudaMajor,
  cacheDir: string = userCacheDir(),
): string {
  return join(cacheDir, "napcat-vlm", `onnxruntime-${ortVersion}-cuda${cudaMajor}`);
}

/** The directory with a whole provider, the newest if there are two; undefined where none is installed. */
export function installedProviders(
  ortVersion: string,
  cacheDir: string = userCacheDir(),
): string | undefined {
  const whole = ([12, 13] as const).flatMap((major) => {
    const directory = providerDirectory(ortVersion, major, cacheDir);
    const found = providerFiles().map((name) => lookAt(join(directory, name)));
    const last = found.at(-1);
    return found.every((file) => file?.isFile()) && last ? [{ directory, at: last.ctimeMs }] : [];
  });
  return whole.toSorted((a, b) => b.at - a.at)[0]?.directory;
}

/** A cache that may not be read holds nothing: services run with a home that is another user's. */
function lookAt(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

/** What the directory holds, by platform; the shared one is loaded first. */
export function providerFiles(platform: string = process.platform): readonly string[] {
  const name = (part: string) =>
    platform === "win32"
      ? `onnxruntime_providers_${part}.dll`
      : `libonnxruntime_providers_${part}.so`;
  return [name("shared"), name("cuda")];
}
