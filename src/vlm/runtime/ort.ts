// ONNX Runtime's C API, called through koffi. The only file that imports koffi, but for the script of the device
// thread. In: function names and raw arguments. Out: errors instead of status objects. It knows nothing of sessions,
// tensors or models, and ort-library.ts knows where the library lies.

import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { setImmediate } from "node:timers/promises";
import type * as Koffi from "koffi";
import { nativePath } from "../../disk.ts";
import { ModelLoadError } from "../errors.ts";
import { otherOnnxRuntime } from "../native/diagnosis.ts";
import {
  assertHost,
  NativeLibraryError,
  nativeLibraryError,
} from "../native/native-library-error.ts";
import { loadedLibraries } from "../native/platform.ts";
import type { NativeCall, NativeResult, PlainArgument } from "./device-thread.ts";
import { OrtError } from "./ort-error.ts";
import {
  GET_ERROR_CODE,
  GET_ERROR_MESSAGE,
  GET_KEY_VALUE,
  ORT_API_VERSION,
  PAIRS_FUNCTIONS,
  type PairsFunction,
  type Parameter,
  RELEASE_FUNCTIONS,
  RELEASE_STATUS,
  type ReleaseFunction,
  STATUS_FUNCTIONS,
  type StatusFunction,
  TEXT_FUNCTIONS,
  type TextFunction,
} from "./ort-functions.ts";
import { findCore, ORT_VERSION, SUPPORTED_VERSIONS } from "./ort-library.ts";

/** Address of an object that ONNX Runtime owns. */
export type Handle = bigint;

/** A view of memory outside the JavaScript heap; see {@link offHeap}. */
export type OffHeapView = ArrayBufferView<ArrayBuffer | SharedArrayBuffer>;

type Argument = Handle | string | number | OffHeapView | null;
type NativeFunction = ReturnType<Koffi.LibraryHandle["func"]>;

/** ONNX Runtime's log levels; everything it has to say comes back as a status anyway. */
const LOG_ERROR = 3;
export const LOG_FATAL = 4;

/** Gives a typed array memory that neither moves nor is copied: small ones live on the JavaScript heap by default. */
export function offHeap<T extends OffHeapView>(array: T): T {
  // Asking for the buffer moves the contents out of the heap for good.
  if (array.buffer.byteLength < array.byteLength) throw new RangeError("The array is detached");
  return array;
}

/** Room for `count` addresses, handles or sizes that a function fills in. */
export function addresses(count: number): BigUint64Array<ArrayBuffer> {
  return offHeap(new BigUint64Array(count));
}

/** The loaded library. One per process, never unloaded. */
export class Ort {
  readonly version: string;
  /** Where the library lies; its providers are looked for there. */
  readonly directory: string;
  #environment: Handle | undefined;
  readonly #koffi: typeof Koffi;
  /** Held so that koffi does not unload the library. */
  readonly #library: Koffi.LibraryHandle;
  readonly #libraries = new Map<string, Koffi.LibraryHandle>();
  readonly #symbols = new Map<string, Handle>();
  readonly #table: Handle;
  readonly #statusFunctions = new Map<StatusFunction, NativeFunction>();
  readonly #releaseFunctions = new Map<ReleaseFunction, NativeFunction>();
  readonly #errorCode: NativeFunction;
  readonly #errorMessage: NativeFunction;
  readonly #releaseStatus: NativeFunction;
  /** glibc's `malloc_trim`; undefined where there is no glibc. */
  readonly #trimHeap: NativeFunction | undefined;
  /** The C library's `memcpy`; undefined where it has another name than expected. */
  readonly #memcpy: NativeFunction | undefined;

  /** @internal Use {@link loadOrt}. */
  constructor(koffi: typeof Koffi, libraryPath: string) {
    this.#koffi = koffi;
    this.directory = dirname(libraryPath);
    this.#library = koffi.load(nativePath(libraryPath));
    const base: Handle = this.#library.func("OrtGetApiBase", "void *", [])();
    const [getApi, getVersion] = koffi.decode(base, "void *", 2);
    this.version = koffi.decode(getVersion, koffi.proto("str", []))();
    if (!SUPPORTED_VERSIONS.includes(this.version)) throw otherVersion(this.version, libraryPath);
    const table: Handle | null = koffi.decode(
      getApi,
      koffi.proto("void *", ["uint32_t"]),
    )(ORT_API_VERSION);
    // An older library has no table of this version, whatever it says of itself.
    if (!table) throw otherVersion(`${this.version} without API ${ORT_API_VERSION}`, libraryPath);
    this.#table = table;
    this.#errorCode = this.#function(GET_ERROR_CODE, "int", ["address"]);
    this.#errorMessage = this.#function(GET_ERROR_MESSAGE, "str", ["address"]);
    this.#releaseStatus = this.#function(RELEASE_STATUS, "void", ["address"]);
    this.#trimHeap = findHeapTrim(koffi);
    this.#memcpy = this.#findMemcpy();
  }

  /** Never released: threads of a run in progress may use it until the process ends. */
  get environment(): Handle {
    if (this.#environment === undefined) {
      const out = addresses(1);
      this.call("CreateEnv", LOG_ERROR, "napcat-vlm", out);
      this.#keepEnvironment(out[0]!);
    }
    return this.#environment!;
  }

  /** Makes the environment on another thread: that takes tens of milliseconds. */
  async prepare(): Promise<void> {
    if (this.#environment !== undefined) return;
    const out = addresses(1);
    await this.callAsync("CreateEnv", LOG_ERROR, "napcat-vlm", out);
    this.#keepEnvironment(out[0]!);
  }

  /** Whoever makes it at the same time gets the same one: the library has one for a process. */
  #keepEnvironment(environment: Handle): void {
    this.#environment ??= environment;
    // Official Windows builds report usage to Microsoft unless told not to.
    this.call("DisableTelemetryEvents", environment);
  }

  /** Calls a function on this thread. @throws OrtError */
  call(name: StatusFunction, ...args: Argument[]): void {
    this.#check(this.#statusFunction(name)(...args));
  }

  /** Calls a function on a thread of libuv's pool; the event loop stays free. Rejects with OrtError. */
  callAsync(name: StatusFunction, ...args: Argument[]): Promise<void> {
    const native = this.#statusFunction(name);
    return new Promise((resolve, reject) => {
      native.async(...args, (error: unknown, status: Handle | null) => {
        args.length = 0; // until here the arrays had to stay alive
        try {
          if (error) throw error;
          this.#check(status);
          resolve();
        } catch (reason) {
          reject(reason);
        }
      });
    });
  }

  /** Calls a function that makes one object or finds one address, and returns it. @throws OrtError */
  create(name: StatusFunction, ...args: Argument[]): Handle {
    const out = addresses(1);
    this.call(name, ...args, out);
    return out[0]!;
  }

  release(name: ReleaseFunction, handle: Handle): void {
    this.#releaseFunction(name)(handle);
  }

  /** Releases on a thread of libuv's pool, for objects whose memory takes long to give back. */
  releaseAsync(name: ReleaseFunction, handle: Handle): Promise<void> {
    const native = this.#releaseFunction(name);
    return new Promise((resolve, reject) => {
      native.async(handle, (error: unknown) => (error ? reject(error) : resolve()));
    });
  }

  /** A call for the thread of a device; its result goes to {@link check}. */
  describe(name: StatusFunction, ...args: Argument[]): NativeCall {
    const [position, parameters] = STATUS_FUNCTIONS[name];
    return this.#describe(position, "void *", parameters, args);
  }

  /** A call for the thread of a device that frees an object. */
  describeRelease(name: ReleaseFunction, handle: Handle): NativeCall {
    return this.#describe(RELEASE_FUNCTIONS[name], "void", ["address"], [handle]);
  }

  /** Throws what a status says. @throws OrtError */
  check(status: NativeResult): void {
    this.#check(typeof status === "bigint" ? status : null);
  }

  /**
   * Loads another library, by path or by the name that the system knows it by. It stays loaded.
   *
   * @throws Error with what the system's loader says
   */
  loadLibrary(path: string): void {
    if (!this.#libraries.has(path)) this.#libraries.set(path, this.#koffi.load(path));
  }

  /** A call of a function of such a library, for the thread of a device. @throws Error when there is none */
  describeForeign(
    path: string,
    name: string,
    parameters: readonly Parameter[],
    args: readonly Argument[],
  ): NativeCall {
    return this.#call(this.#symbol(path, name), "int", parameters, args, true);
  }

  /**
   * Calls such a function on a thread of libuv's pool.
   *
   * @returns what it returned, an error code
   */
  callForeignAsync(
    path: string,
    name: string,
    parameters: readonly Parameter[],
    args: readonly Argument[],
  ): Promise<number> {
    const native = this.#native(this.#symbol(path, name), "int", parameters);
    return new Promise((resolve, reject) => {
      native.async(...args, (error: unknown, code: number) =>
        error ? reject(error) : resolve(code),
      );
    });
  }

  #symbol(path: string, name: string): Handle {
    this.loadLibrary(path);
    const key = `${path} ${name}`;
    let address = this.#symbols.get(key);
    if (address === undefined) {
      address = this.#libraries.get(path)!.symbol(name, "void *") as Handle;
      this.#symbols.set(key, address);
    }
    return address;
  }

  /**
   * Gives memory that was freed back to the system, which glibc is slow to do: after the session of a 2B was released,
   * 1.9 of its 2.2 GB stayed with the process until its heap was trimmed.
   */
  returnFreeMemory(): Promise<void> {
    const trim = this.#trimHeap;
    if (!trim) return Promise.resolve();
    return new Promise((resolve, reject) => {
      trim.async(0, (error: unknown) => (error ? reject(error) : resolve()));
    });
  }

  /** What a function says of an object. */
  textOf(name: TextFunction, handle: Handle): string {
    return this.#function(TEXT_FUNCTIONS[name], "str", ["address"])(handle);
  }

  /** One of the pairs of texts that an object has; undefined where it has none of this key. */
  entryOf(name: PairsFunction, handle: Handle, key: string): string | undefined {
    const pairs = this.#function(PAIRS_FUNCTIONS[name], "void *", ["address"])(handle);
    if (!pairs) return undefined;
    return this.#function(GET_KEY_VALUE, "str", ["address", "text"])(pairs, key) ?? undefined;
  }

  /** Reads a NUL-terminated string. */
  text(address: Handle): string {
    return this.#koffi.decode.string(address);
  }

  /** The memory at an address as a buffer; whoever asks must drop it before that memory is freed. */
  memory(address: Handle, byteLength: number): ArrayBuffer {
    return this.#koffi.view(address, byteLength);
  }

  /** Copies memory; neither side may be freed or moved meanwhile. */
  copy(target: Handle, source: Handle, byteLength: number): void {
    if (this.#memcpy) this.#memcpy(target, source, byteLength);
    else {
      const bytes = (address: Handle) => new Uint8Array(this.memory(address, byteLength));
      bytes(target).set(bytes(source));
    }
  }

  /** Where an array lies. It must stay referenced, and {@link offHeap}, as long as the address is used. */
  address(array: OffHeapView): Handle {
    return this.#koffi.address(array);
  }

  #findMemcpy(): NativeFunction | undefined {
    const library = C_LIBRARIES[process.platform];
    if (library === undefined) return undefined;
    try {
      this.loadLibrary(library);
      const types = ["void *", "void *", "size_t"];
      return this.#libraries.get(library)!.func("memcpy", "void *", types);
    } catch {
      return undefined;
    }
  }

  #check(status: Handle | null): void {
    if (!status) return;
    const error = new OrtError(this.#errorCode(status), this.#errorMessage(status));
    this.#releaseStatus(status);
    throw error;
  }

  #describe(
    position: number,
    result: string,
    parameters: readonly Parameter[],
    args: readonly Argument[],
  ): NativeCall {
    const address: Handle = this.#koffi.decode(this.#table, 8 * position, "void *");
    return this.#call(address, result, parameters, args, result !== "void");
  }

  #call(
    address: Handle,
    result: string,
    parameters: readonly Parameter[],
    args: readonly Argument[],
    stops: boolean,
  ): NativeCall {
    const plain = args.map(
      (arg): PlainArgument => (ArrayBuffer.isView(arg) ? this.address(arg) : arg),
    );
    const types = parameters.map((parameter) => C_TYPES[parameter]);
    return { address, result, parameters: types, args: plain, stops, keep: args };
  }

  #statusFunction(name: StatusFunction): NativeFunction {
    let native = this.#statusFunctions.get(name);
    if (!native) {
      const [position, parameters] = STATUS_FUNCTIONS[name];
      native = this.#function(position, "void *", parameters);
      this.#statusFunctions.set(name, native);
    }
    return native;
  }

  #releaseFunction(name: ReleaseFunction): NativeFunction {
    let native = this.#releaseFunctions.get(name);
    if (!native) {
      native = this.#function(RELEASE_FUNCTIONS[name], "void", ["address"]);
      this.#releaseFunctions.set(name, native);
    }
    return native;
  }

  #function(position: number, result: string, parameters: readonly Parameter[]): NativeFunction {
    const address = this.#koffi.decode(this.#table, 8 * position, "void *");
    return this.#native(address, result, parameters);
  }

  #native(address: Handle, result: string, parameters: readonly Parameter[]): NativeFunction {
    // Nameless: koffi's type names are one list per process, and other code uses koffi too.
    const prototype = this.#koffi.proto(
      result,
      parameters.map((parameter) => C_TYPES[parameter]),
    );
    return this.#koffi.decode(address, prototype);
  }
}

const C_TYPES: Record<Parameter, string> = {
  address: "void *",
  text: "str",
  path: process.platform === "win32" ? "str16" : "str", // ORTCHAR_T
  int: "int",
  size: "size_t",
};

// koffi runs each asynchronous call on a stack of its own; its default of 128 KiB is little for kernels that
// keep scratch buffers on the stack. Pages that are never touched cost nothing.
const ASYNC_STACK_BYTES = 8 * 2 ** 20;

let loaded: Ort | undefined;

/**
 * Loads the library at the first call.
 *
 * @throws ModelLoadError `session-failed` when it is missing, of another version, or not made for this platform.
 */
export function loadOrt(): Ort {
  loaded ??= open();
  return loaded;
}

/**
 * Loads the library with the event loop in between, and makes what takes long on another thread.
 *
 * @throws as {@link loadOrt} does
 */
export async function prepareOrt(): Promise<void> {
  assertHost();
  await setImmediate();
  loadKoffi();
  await setImmediate();
  await loadOrt().prepare();
}

function open(): Ort {
  assertHost();
  const libraryPath = findCore();
  const koffi = loadKoffi();
  try {
    koffi.config({ async_stack_size: ASYNC_STACK_BYTES });
  } catch {
    // Other code in this process has used koffi already: its stack size is in force.
  }
  try {
    return new Ort(koffi, libraryPath);
  } catch (cause) {
    if (cause instanceof ModelLoadError) throw cause;
    const file = { path: libraryPath, exists: existsSync(libraryPath) };
    throw nativeLibraryError({ part: "ONNX Runtime", error: cause, file });
  }
}

function findHeapTrim(koffi: typeof Koffi): NativeFunction | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    return koffi.load("libc.so.6").func("malloc_trim", "int", ["size_t"]);
  } catch {
    return undefined; // Another C library than glibc; musl returns free memory by itself.
  }
}

const C_LIBRARIES: Partial<Record<NodeJS.Platform, string>> = {
  linux: "libc.so.6",
  darwin: "libSystem.B.dylib",
  win32: "msvcrt.dll",
};

function loadKoffi(): typeof Koffi {
  try {
    return createRequire(import.meta.url)("koffi");
  } catch (cause) {
    throw nativeLibraryError({ part: "koffi", error: cause });
  }
}

/** The library that answers is not the one that was asked for: another copy, or a file that was replaced. */
function otherVersion(found: string, libraryPath: string): NativeLibraryError {
  const others = loadedLibraries("onnxruntime").map(({ path }) => path);
  const from = [...new Set([libraryPath, ...others])].join(", ");
  return new NativeLibraryError(
    otherOnnxRuntime({ part: "napcat-vlm", expected: ORT_VERSION, found, from }),
  );
}
