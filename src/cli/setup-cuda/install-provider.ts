// The provider's libraries out of an archive into the directory where the runtime looks for them. In: an archive. Out: the
// files in place, proven to be of the version of ONNX Runtime and of CUDA that they are meant for; else nothing.

import { mkdtemp, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { disk } from "../../disk.ts";
import { CUDA_PROVIDER_FILE, inspectProvider } from "../../vlm/runtime/cuda-provider.ts";
import { SUPPORTED_VERSIONS } from "../../vlm/runtime/ort-library.ts";
import { type CudaMajor, providerFiles } from "../../vlm/runtime/provider-directory.ts";
import { extract } from "./archive.ts";

/** How directories begin in which files are until they are proven to be right. */
const FRESH = ".new-";
const OLD_MS = 3_600_000;

export interface ProviderRequest {
  /** An archive, or a directory with the files. */
  readonly from: string;
  readonly directory: string;
  readonly version: string;
  readonly cuda: CudaMajor;
  readonly platform: string;
  readonly signal: AbortSignal;
}

/** What was wrong with the archive, for people. */
export class WrongProviderError extends Error {
  override readonly name = "WrongProviderError";
}

/** @throws WrongProviderError when a file is missing, or of another version */
export async function installProvider(request: ProviderRequest): Promise<void> {
  const { from, directory, platform, signal } = request;
  const names = providerFiles(platform);
  await removeLeftovers(directory);
  const fresh = await mkdtemp(join(directory, FRESH));
  try {
    const wanted = new Map(names.map((name) => [name, join(fresh, name)]));
    const found = await extract(from, wanted, signal);
    const missing = names.filter((name) => !found.includes(name));
    if (missing.length > 0) {
      throw new WrongProviderError(`it has no ${missing.join(" and no ")}`);
    }
    await assertBuild(join(fresh, names.at(-1) ?? CUDA_PROVIDER_FILE), request);
    for (const name of names) {
      await disk.moveFile(join(fresh, name), join(directory, name), { signal });
    }
  } finally {
    await disk.remove(fresh);
  }
}

/** What a run has left that was killed: hundreds of megabytes. A directory of the last hour may be another run's. */
async function removeLeftovers(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (!name.startsWith(FRESH)) continue;
    const path = join(directory, name);
    const made = await stat(path).catch(() => undefined);
    if (made && Date.now() - made.mtimeMs > OLD_MS) await disk.remove(path);
  }
}

/** One of another version would crash the process that loads it. */
async function assertBuild(file: string, { version, cuda }: ProviderRequest): Promise<void> {
  const build = await inspectProvider(file, [...new Set([version, ...SUPPORTED_VERSIONS])]);
  if (build.version !== version) {
    const found = build.version ?? "another version";
    throw new WrongProviderError(`it is of ONNX Runtime ${found}, and ${version} is needed`);
  }
  if (build.cuda !== cuda) {
    const found = build.cuda === undefined ? "neither CUDA 12 nor 13" : `CUDA ${build.cuda}`;
    throw new WrongProviderError(`it needs ${found}, and CUDA ${cuda} was chosen (see --cuda)`);
  }
}
