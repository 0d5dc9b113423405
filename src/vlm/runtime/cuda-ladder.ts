// From the driver to a provider that is loaded, rung by rung, on the device's thread. In: the number of a device.
// Out: what was found, or an error that names the rung and says what to install. Nothing is computed here.

import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { ModelLoadError } from "../errors.ts";
import { findCudaLibraries } from "./cuda-libraries.ts";
import { openCudaPlugin } from "./cuda-plugin.ts";
import { CUDA_PROVIDER_FILE, inspectProvider } from "./cuda-provider.ts";
import type { DeviceThread, NativeResult } from "./device-thread.ts";
import { type Ort, offHeap } from "./ort.ts";
import { ORT_DIRECTORY_VARIABLE, SUPPORTED_VERSIONS } from "./ort-library.ts";
import type { CudaMajor } from "./provider-directory.ts";
import type { PluginDevice, ProviderPlugins } from "./provider-plugins.ts";

/** A card, and what was loaded to use it. */
export interface CudaFacts {
  readonly name: string;
  /** CUDA version that the driver can do, such as 13.0. */
  readonly driver: number;
  /** Compute capability, such as 9.0. */
  readonly capability: number;
  /** Major version of the CUDA libraries. */
  readonly cuda: CudaMajor;
  /** Path of the runtime library. */
  readonly runtime: string;
  readonly provider: string;
  /** The card in the provider's form as a plugin, where that is used. */
  readonly plugin: PluginDevice | undefined;
  readonly libraries: readonly string[];
}

/** What CUDA is reached through: the libraries of this process, and a thread that calls them. Tests have others. */
export interface CudaNative {
  readonly ort: Pick<
    Ort,
    | "version"
    | "directory"
    | "loadLibrary"
    | "describeForeign"
    | "callForeignAsync"
    | "address"
    | "check"
    | "memory"
  >;
  readonly thread: Pick<DeviceThread, "call" | "callAtExit" | "end">;
  readonly plugins: Pick<ProviderPlugins, "register" | "devices">;
  /** The provider's form as a plugin; undefined where there is none. */
  readonly findPlugin: (beside: string) => string | undefined;
}

/** In the order in which they are climbed. */
export type CudaRung = "driver" | "version" | "card" | "capability" | "provider" | "libraries";

export type RungListener = (rung: CudaRung, found: string) => void;

/** The driver's own library, as the system's loader knows it. */
export const CUDA_DRIVER = process.platform === "win32" ? "nvcuda.dll" : "libcuda.so.1";
const LIBC = "libc.so.6";
const RTLD_NOW = 2;
const CAPABILITY_MAJOR = 75;
const CAPABILITY_MINOR = 76;
/** What the official providers hold machine code for, without code that a driver could translate for others. */
const SUPPORTED = "7.5 (RTX 20), 8.x (RTX 30, RTX 40, A100), 9.0 (H100, H200), 12.x (RTX 50)";

/**
 * Looks for everything that a CUDA device needs, and loads the libraries.
 *
 * @throws ModelLoadError `device-unavailable`
 */
export async function climbCuda(
  index: number,
  native: CudaNative,
  told: RungListener = () => {},
): Promise<CudaFacts> {
  const { ort } = native;
  const device = `cuda:${index}`;
  const driver = new Driver(native, device);
  await driver.open();
  told("driver", CUDA_DRIVER);
  const version = await driver.version();
  told("version", `CUDA ${version.toFixed(1)}`);
  const { name, capability } = await driver.card(index);
  told("card", name);
  if (!isSupported(capability)) {
    throw unavailableAt(
      device,
      "capability",
      `${name} has compute capability ${capability.toFixed(1)}, and ONNX Runtime's provider has code for ${SUPPORTED}.`,
    );
  }
  told("capability", capability.toFixed(1));
  const expectDriver = (cuda: 12 | 13) => {
    if (version >= cuda) return;
    throw unavailableAt(
      device,
      "version",
      `the driver can do CUDA ${version.toFixed(1)}, and the provider needs ${cuda}. Install a newer NVIDIA driver` +
        `${cuda === 13 ? " (580 or later)" : ""}.`,
    );
  };
  const facts = { name, driver: version, capability };
  const plugin = await climbPlugin(index, native, expectDriver);
  if (typeof plugin !== "string") {
    told("provider", `${plugin.provider} (plugin)`);
    told("libraries", plugin.libraries.join(", "));
    return { ...facts, ...plugin, runtime: plugin.libraries[0]! };
  }
  const provider = join(ort.directory, CUDA_PROVIDER_FILE);
  const cuda = await checkProvider(provider, ort.version, device);
  told("provider", `${provider} (ONNX Runtime ${ort.version}, CUDA ${cuda})${plugin}`);
  expectDriver(cuda);
  const libraries = await loadLibraries(native, cuda, device);
  told("libraries", libraries.join(", "));
  return { ...facts, cuda, runtime: libraries[0]!, provider, plugin: undefined, libraries };
}

/** The provider as a plugin; where it cannot be used, why not, for people: "" where there is none. */
async function climbPlugin(
  index: number,
  { ort, thread, plugins, findPlugin }: CudaNative,
  expectDriver: (cuda: 12 | 13) => void,
): Promise<
  (Pick<CudaFacts, "cuda" | "provider" | "libraries"> & { readonly plugin: PluginDevice }) | string
> {
  const provider = findPlugin(ort.directory);
  if (provider === undefined) return "";
  try {
    const { cuda } = await inspectProvider(provider, []);
    if (cuda === undefined) return `, not ${provider}: it needs neither CUDA 12 nor CUDA 13`;
    expectDriver(cuda);
    const libraries = await loadLibraries({ ort, thread }, cuda, `cuda:${index}`);
    return { cuda, provider, libraries, plugin: await openCudaPlugin(index, provider, plugins) };
  } catch (error) {
    return `, not ${provider}: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** The error of a rung, saying what to do. */
export function unavailableAt(
  device: string,
  rung: CudaRung,
  what: string,
  cause?: unknown,
): ModelLoadError {
  const message = `The device "${device}" cannot be used (${rung}): ${what} Or use device "cpu".`;
  return new ModelLoadError("device-unavailable", message, { cause });
}

function isSupported(capability: number): boolean {
  return [7.5, 9].includes(capability) || [8, 12].includes(Math.floor(capability));
}

/** The driver's own library. */
class Driver {
  readonly #ort: CudaNative["ort"];
  readonly #thread: CudaNative["thread"];
  readonly #device: string;

  constructor({ ort, thread }: CudaNative, device: string) {
    this.#ort = ort;
    this.#thread = thread;
    this.#device = device;
  }

  async open(): Promise<void> {
    try {
      this.#ort.loadLibrary(CUDA_DRIVER);
    } catch (cause) {
      const advice = `there is no NVIDIA driver: ${CUDA_DRIVER} cannot be loaded. Install the driver of your card.`;
      throw unavailableAt(this.#device, "driver", advice, cause);
    }
    await this.#call("driver", "cuInit", ["int"], [0]);
  }

  /** Highest CUDA version, such as 13.0. */
  async version(): Promise<number> {
    const version = offHeap(new Int32Array(1));
    await this.#call("version", "cuDriverGetVersion", ["address"], [version]);
    return Math.floor(version[0]! / 1000) + Math.floor((version[0]! % 1000) / 10) / 10;
  }

  async card(index: number): Promise<{ name: string; capability: number }> {
    const count = offHeap(new Int32Array(1));
    await this.#call("card", "cuDeviceGetCount", ["address"], [count]);
    if (index >= count[0]!) {
      throw unavailableAt(this.#device, "card", `this machine shows ${shownCards(count[0]!)}.`);
    }
    const handle = offHeap(new Int32Array(1));
    await this.#call("card", "cuDeviceGet", ["address", "int"], [handle, index]);
    const name = offHeap(new Uint8Array(256));
    const nameParameters = ["address", "int", "int"] as const;
    await this.#call("card", "cuDeviceGetName", nameParameters, [name, name.length, handle[0]!]);
    const parts: number[] = [];
    for (const attribute of [CAPABILITY_MAJOR, CAPABILITY_MINOR]) {
      const value = offHeap(new Int32Array(1));
      const args = [value, attribute, handle[0]!];
      await this.#call("capability", "cuDeviceGetAttribute", ["address", "int", "int"], args);
      parts.push(value[0]!);
    }
    const text = Buffer.from(name).toString("utf8").replace(/\0.*$/s, "");
    return { name: text, capability: parts[0]! + parts[1]! / 10 };
  }

  async #call(
    rung: CudaRung,
    name: string,
    parameters: readonly ("address" | "int")[],
    args: readonly (number | Int32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>)[],
  ): Promise<void> {
    const call = this.#ort.describeForeign(CUDA_DRIVER, name, parameters, args);
    const [code] = await this.#thread.call([call]);
    if (code === 0) return;
    throw unavailableAt(this.#device, rung, driverAdvice(name, code ?? null));
  }
}

/** How many there are, what they are called, and why there may be fewer than the machine has. */
function shownCards(count: number): string {
  const cards =
    count === 1 ? "one CUDA card, cuda:0" : `${count} CUDA cards, cuda:0 to cuda:${count - 1}`;
  return process.env.CUDA_VISIBLE_DEVICES === undefined
    ? cards
    : `${cards}, since CUDA_VISIBLE_DEVICES is set: it hides the others, and numbers begin anew`;
}

/** What the driver's commonest refusals mean. */
function driverAdvice(name: string, code: NativeResult): string {
  switch (code) {
    case 100:
      return "the driver finds no card. Check `nvidia-smi`, and CUDA_VISIBLE_DEVICES.";
    case 803:
    case 804:
      return "the driver's library and its kernel module are of different versions. Restart the machine.";
    case 999:
      return "the driver does not answer (error 999). Restart it, or the container that has lost it.";
    default:
      return `the driver's ${name} failed with error ${code}. Check \`nvidia-smi\`.`;
  }
}

/** @returns the major version of CUDA that the provider needs */
async function checkProvider(file: string, coreVersion: string, device: string): Promise<12 | 13> {
  const command = "`npx napcat-vlm setup-cuda` (in a clone: `npm run setup:cuda`)";
  const setup = process.env[ORT_DIRECTORY_VARIABLE]
    ? `${ORT_DIRECTORY_VARIABLE} names that directory: put the provider of ${coreVersion} there, or leave the ` +
      `variable out and run ${command}.`
    : `Run ${command}.`;
  if (!existsSync(file)) {
    throw unavailableAt(
      device,
      "provider",
      `ONNX Runtime's CUDA provider is not installed in ${dirname(file)}. ${setup}`,
    );
  }
  const build = await inspectProvider(file, SUPPORTED_VERSIONS);
  if (build.version !== coreVersion) {
    const version = build.version ?? "an unknown version";
    throw unavailableAt(
      device,
      "provider",
      `${file} is of ${version}, and the core is ONNX Runtime ${coreVersion}: together they would crash. ${setup}`,
    );
  }
  if (build.cuda === undefined) {
    throw unavailableAt(device, "provider", `${file} needs neither CUDA 12 nor CUDA 13. ${setup}`);
  }
  return build.cuda;
}

/**
 * Lets the system load a library on the thread of the device, so that it is there already when it is opened on this one:
 * cuBLAS takes a second. Whether it helped shows then.
 */
async function preload({ ort, thread }: Pick<CudaNative, "ort" | "thread">, path: string) {
  if (process.platform !== "linux") return;
  try {
    const args = [offHeap(Buffer.from(`${path}\0`)), RTLD_NOW] as const;
    await thread.call([ort.describeForeign(LIBC, "dlopen", ["address", "int"], args)]);
  } catch {
    // Another C library than glibc 2.34 or later.
  }
}

/** Loads what the provider needs, so that it finds it wherever it lies. Returns the paths. */
async function loadLibraries(
  native: Pick<CudaNative, "ort" | "thread">,
  cuda: 12 | 13,
  device: string,
): Promise<string[]> {
  const { ort } = native;
  const libraries = findCudaLibraries(cuda, { beside: ort.directory });
  for (const { path, found } of libraries) if (found) await preload(native, path);
  return libraries.map(({ name, path }) => {
    try {
      ort.loadLibrary(path);
      return path;
    } catch (cause) {
      const wheels = "pip install nvidia-cuda-runtime nvidia-cublas nvidia-curand";
      throw unavailableAt(
        device,
        "libraries",
        `CUDA's ${name} cannot be loaded. Install the CUDA ${cuda} toolkit, or its libraries alone: \`${wheels}\`` +
          " (or let `npx napcat-vlm setup-cuda` fetch them).",
        cause,
      );
    }
  });
}
