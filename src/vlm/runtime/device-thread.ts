// A thread that owns a device: every native call that touches it is made there, one after the other, while the event
// loop goes on. CUDA keeps handles and captured graphs per thread, and WebGPU crashes when two sessions call at once;
// one thread is the answer to both. In: calls with plain arguments. Out: what they returned.

import { Worker } from "node:worker_threads";

/** What a native function takes after typed arrays have become addresses. */
export type PlainArgument = bigint | string | number | null;

/** One call of a native function. */
export interface NativeCall {
  /** Of the function. */
  readonly address: bigint;
  /** Types in koffi's words. */
  readonly result: string;
  readonly parameters: readonly string[];
  readonly args: readonly PlainArgument[];
  /** Does a result other than null and 0 say that it failed? Then the calls after it are not made. */
  readonly stops: boolean;
  /** Made also after one that failed: it ends what was begun. @default false */
  readonly always?: boolean;
  /** What the arguments point to; referenced until the call was made. */
  readonly keep: readonly unknown[];
}

export type NativeResult = bigint | number | string | null;

interface Pending {
  readonly calls: readonly NativeCall[];
  readonly resolve: (results: NativeResult[]) => void;
  readonly reject: (error: unknown) => void;
}

interface Reply {
  readonly id: number;
  readonly results: NativeResult[];
  readonly failure: string | undefined;
}

/** The thread ended, and nothing on its device can be used any more. */
export class DeviceThreadError extends Error {
  override readonly name = "DeviceThreadError";
}

export interface DeviceThreadOptions {
  /** Lowers the thread's priority by so many levels of `nice`; what native code starts there inherits it. Linux only. */
  readonly nicer?: number;
}

/** A thread for native calls. The process may end while it has nothing to do. */
export class DeviceThread {
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  #nextId = 0;
  #ended: DeviceThreadError | undefined;

  constructor(name: string, { nicer = 0 }: DeviceThreadOptions = {}) {
    this.#worker = new Worker(new URL("./device-thread-worker.js", import.meta.url), {
      name,
      // Flags of a test runner or a loader are of no use to it.
      execArgv: [],
      workerData: { nicer },
    });
    this.#worker.on("message", (reply: Reply) => this.#settle(reply));
    this.#worker.on("error", (error) => this.#end(error));
    this.#worker.on("exit", () => this.#end(undefined));
    this.#worker.unref();
  }

  /**
   * Makes the calls in order, up to the first that fails; after it only those that are always made.
   *
   * @returns one result for each call that was made
   * @throws DeviceThreadError when the thread has ended
   */
  call(calls: readonly NativeCall[]): Promise<NativeResult[]> {
    if (this.#ended) return Promise.reject(this.#ended);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { calls, resolve, reject });
      if (this.#pending.size === 1) this.#worker.ref();
      this.#worker.postMessage({ id, calls: calls.map(plain) });
    });
  }

  /**
   * Makes calls while the process exits, when no promise is settled any more: waits for those before them too.
   *
   * @returns "late" when that took too long, so that they may still be under way; "ended" when the thread was not there
   *   any more
   */
  callAtExit(calls: readonly NativeCall[], timeoutMs: number): "made" | "late" | "ended" {
    if (this.#ended) return "ended";
    const done = new Int32Array(new SharedArrayBuffer(4));
    this.#worker.postMessage({ id: -1, calls: calls.map(plain), done });
    return Atomics.wait(done, 0, 0, timeoutMs) === "timed-out" ? "late" : "made";
  }

  /** Ends the thread after the call in progress. What is on the device stays as it is. */
  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  #settle({ id, results, failure }: Reply): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (this.#pending.size === 0) this.#worker.unref();
    if (failure === undefined) pending?.resolve(results);
    else pending?.reject(new TypeError(failure));
  }

  #end(cause: unknown): void {
    this.#ended ??= new DeviceThreadError("The thread of the device has ended.", { cause });
    for (const { reject } of this.#pending.values()) reject(this.#ended);
    this.#pending.clear();
  }
}

/** A call as it travels to the thread. */
function plain({ address, result, parameters, args, stops, always }: NativeCall) {
  return { address, result, parameters, args, stops, always };
}
