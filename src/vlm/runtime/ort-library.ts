// Which file ONNX Runtime is loaded from: the library inside onnxruntime-node, or that of a directory which
// NAPCAT_VLM_ORT names. Versions are compared before anything is loaded: a provider of another version than the core
// would crash, since what they share is no stable interface. Nothing is loaded here.

import {
  copyFileSync,
  existsSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { ModelLoadError } from "../errors.ts";
import { installedProviders } from "./provider-directory.ts";

/** The version of onnxruntime-node that is installed with this package. */
export const ORT_VERSION = "1.30.0";

/** Versions whose library is known to behave as this code expects: both pass the goldens. */
export const SUPPORTED_VERSIONS: readonly string[] = ["1.29.0", ORT_VERSION];

/** Names a directory with another ONNX Runtime: its core, providers, or both. */
export const ORT_DIRECTORY_VARIABLE = "NAPCAT_VLM_ORT";

/** The core on Windows. */
const CORE_DLL = "onnxruntime.dll";

/**
 * Path of the library to load. ONNX Runtime looks for its providers in the directory of exactly this path.
 *
 * @throws ModelLoadError when there is none
 */
export function findCore(directory = process.env[ORT_DIRECTORY_VARIABLE]): string {
  if (directory === undefined || directory === "") return coreWithProviders() ?? corePath();
  const file = coreFileName();
  const own = join(directory, file);
  if (existsSync(own)) {
    if (realpathSync(own) !== realpathSync(corePath())) keepBindingApart();
    return own;
  }
  if (!existsSync(directory)) {
    throw new ModelLoadError(
      "session-failed",
      `${ORT_DIRECTORY_VARIABLE} names the directory ${directory}, which does not exist. Correct it or leave it out.`,
    );
  }
  return coreBeside(directory);
}

/** The core beside the providers that `setup-cuda` has installed for it; undefined where there are none. */
function coreWithProviders(): string | undefined {
  const directory = installedProviders(ORT_VERSION);
  if (directory === undefined) return undefined;
  const link = join(directory, coreFileName());
  try {
    // onnxruntime-node may lie elsewhere than when the link was made.
    if (existsSync(link) && isCore(link)) return link;
    rmSync(link, { force: true });
    return coreBeside(directory);
  } catch {
    return undefined; // A cache that cannot be written is no reason to do without the CPU.
  }
}

/** Is it a link to the core, or on Windows a copy of it? */
function isCore(link: string): boolean {
  const core = corePath();
  if (process.platform === "win32") return statSync(link).size === statSync(core).size;
  return realpathSync(link) === realpathSync(core);
}

/**
 * The core of onnxruntime-node, seen from a directory with providers: a link, or a copy where links need rights. A copy
 * needs the libraries beside it too, which WebGPU's compiler of shaders is among.
 */
function coreBeside(directory: string): string {
  const [core, link] = [corePath(), join(directory, coreFileName())];
  try {
    if (process.platform === "win32") copyLibraries(dirname(core), directory);
    else symlinkSync(core, link);
  } catch (cause) {
    if (existsSync(link)) return link; // Another process was faster.
    throw new ModelLoadError(
      "session-failed",
      `${directory} has no ${coreFileName()}, and none can be put there. Copy ${core} into it.`,
      { cause },
    );
  }
  return link;
}

/** Copies Windows' libraries of a directory into another that has them not. The core comes last: where it is, all are. */
export function copyLibraries(from: string, to: string): void {
  const libraries = readdirSync(from).filter((name) => name.endsWith(".dll"));
  const missing = libraries.filter((name) => !existsSync(join(to, name)));
  for (const name of missing.toSorted((a, b) => Number(a === CORE_DLL) - Number(b === CORE_DLL))) {
    copyFileSync(join(from, name), join(to, name));
  }
}

/**
 * Two cores in one process have one name. The binding of onnxruntime-node finds its own only when that was loaded
 * before the other one.
 */
function keepBindingApart(): void {
  try {
    createRequire(import.meta.url)("onnxruntime-node");
  } catch {
    // Not installed or not for this platform: then nobody in this process needs it.
  }
}

/** The library inside onnxruntime-node. @throws ModelLoadError when it is not installed, or of another version */
export function corePath(): string {
  const require = createRequire(import.meta.url);
  let packageFile: string;
  let version: unknown;
  try {
    packageFile = require.resolve("onnxruntime-node/package.json");
    version = require(packageFile).version;
  } catch (cause) {
    throw new ModelLoadError(
      "session-failed",
      `The package onnxruntime-node is not installed. Run \`npm install onnxruntime-node@${ORT_VERSION}\`.`,
      { cause },
    );
  }
  expectVersion(version, "the package onnxruntime-node", [ORT_VERSION]);
  return join(dirname(packageFile), ...libraryOf(process.platform, process.arch));
}

/**
 * Where the library lies inside onnxruntime-node.
 *
 * @throws ModelLoadError when the package has none for this platform.
 */
export function libraryOf(platform: string, architecture: string): readonly string[] {
  const file = LIBRARIES[`${platform}-${architecture}`];
  if (file === undefined) {
    throw new ModelLoadError(
      "session-failed",
      `onnxruntime-node ${ORT_VERSION} has no library for ${platform} on ${architecture}; ` +
        `it has them for ${Object.keys(LIBRARIES).join(", ")}.`,
    );
  }
  return ["bin", "napi-v6", platform, architecture, file];
}

// The same files that the binding of onnxruntime-node is linked to, so that a process which uses both
// (@huggingface/transformers does) has one ONNX Runtime and not two.
const LIBRARIES: Readonly<Record<string, string>> = {
  "linux-x64": "libonnxruntime.so.1",
  "linux-arm64": "libonnxruntime.so.1",
  "darwin-arm64": "libonnxruntime.1.dylib",
  "win32-x64": CORE_DLL,
  "win32-arm64": CORE_DLL,
};

function coreFileName(): string {
  return libraryOf(process.platform, process.arch).at(-1)!;
}

/** @throws ModelLoadError unless the version is one of those given */
export function expectVersion(
  version: unknown,
  what: string,
  expected: readonly string[] = SUPPORTED_VERSIONS,
): void {
  if (typeof version === "string" && expected.includes(version)) return;
  throw new ModelLoadError(
    "session-failed",
    `Expected ONNX Runtime ${expected.join(" or ")}, but ${what} is version ${version}. ` +
      `Run \`npm install onnxruntime-node@${ORT_VERSION}\`.`,
  );
}
