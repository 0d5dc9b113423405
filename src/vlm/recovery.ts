// What was loaded onto a device, and is loaded again when the device was lost: at once, and where that fails after
// longer and longer pauses, until it works or nobody wants it any more. In: how to load and how to free. Out: what is
// loaded, or why it is not there. It knows nothing of devices, nor of what was loaded.

import { sharedController, untilAborted } from "../abort.ts";
import { DeviceError } from "./errors.ts";
import type { ModelHealth } from "./vision-language-model.ts";

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 60_000;

export interface RecoveryOptions<T> {
  /** Such as `cuda:0`, for people. */
  readonly device: string;
  readonly loaded: T;
  /** Loads the same once more. */
  readonly load: (signal: AbortSignal) => Promise<T>;
  /** Ends whoever still uses it, with this error, and frees everything, also on a device that was lost. */
  readonly unload: (loaded: T, why: Error) => Promise<void>;
  /** Aborts with a DeviceError `device-lost` when its device is lost; undefined where there is none to lose. */
  readonly loss: (loaded: T) => AbortSignal | undefined;
  readonly onWarning: (message: string) => void;
}

/** A failed attempt, and when the next one is. */
interface Pause {
  readonly reason: string;
  readonly endsAt: number;
}

export class Recovery<T> {
  readonly #options: RecoveryOptions<T>;
  readonly #end = sharedController();
  #loaded: T | undefined;
  /** Ends the watch over the device of what is loaded. */
  #unwatch = (): void => {};
  #losses = 0;
  #why = "";
  #pause: Pause | undefined;
  /** Resolves when an attempt is over, whatever came of it. */
  #attempt: Promise<void> = Promise.resolve();
  #recovering: Promise<void> = Promise.resolve();

  constructor(options: RecoveryOptions<T>) {
    this.#options = options;
    this.#place(options.loaded);
  }

  /** What is loaded now; undefined while it is not there. */
  get loaded(): T | undefined {
    return this.#loaded;
  }

  get health(): Exclude<ModelHealth, { readonly state: "disposed" }> {
    const losses = this.#losses;
    if (this.#loaded !== undefined) return { state: "ready", losses };
    const pause = this.#pause;
    const nextAttemptMs = pause ? Math.max(0, pause.endsAt - Date.now()) : 0;
    const reason = pause ? `${this.#why} ${pause.reason}` : this.#why;
    return { state: "reloading", losses, reason, nextAttemptMs };
  }

  /**
   * What is loaded. Waits while it is being loaded again.
   *
   * @throws DeviceError `device-lost` when that has failed and is not tried again yet
   * @throws the signal's reason when it aborts
   */
  async use(signal: AbortSignal): Promise<T> {
    for (;;) {
      signal.throwIfAborted();
      if (this.#loaded !== undefined) return this.#loaded;
      if (this.#pause) throw this.#notThere(this.#pause);
      await untilAborted(this.#attempt, signal);
    }
  }

  /** Stops trying, and returns what is loaded, which is the caller's to free now. */
  async end(): Promise<T | undefined> {
    this.#end.abort();
    await this.#recovering;
    this.#unwatch();
    const loaded = this.#loaded;
    this.#loaded = undefined;
    return loaded;
  }

  #place(loaded: T): void {
    this.#loaded = loaded;
    const loss = this.#options.loss(loaded);
    const onLoss = () => this.#lose(loaded, loss!.reason);
    loss?.addEventListener("abort", onLoss);
    this.#unwatch = () => loss?.removeEventListener("abort", onLoss);
    if (loss?.aborted) onLoss();
  }

  #lose(lost: T, why: Error): void {
    this.#unwatch();
    if (this.#end.signal.aborted) return;
    this.#loaded = undefined;
    this.#losses++;
    this.#why = why.message;
    this.#options.onWarning(`${why.message} It is being loaded again.`);
    this.#recovering = this.#recover(lost, why);
  }

  async #recover(lost: T, why: Error): Promise<void> {
    const { signal } = this.#end;
    // The first attempt begins with the end of what was there, so that nobody uses the device meanwhile.
    let before = this.#options.unload(lost, why).catch(() => {});
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      this.#pause = undefined;
      this.#attempt = this.#tryOnce(before, pauseMs);
      await this.#attempt;
      if (this.#pause === undefined || signal.aborted) return;
      await rest(pauseMs, signal);
      if (signal.aborted) return;
      before = Promise.resolve();
    }
  }

  async #tryOnce(before: Promise<void>, pauseMs: number): Promise<void> {
    const { signal } = this.#end;
    const { device, load, onWarning } = this.#options;
    try {
      await before;
      signal.throwIfAborted();
      const loaded = await load(signal);
      onWarning(`The model is on ${device} again.`);
      this.#place(loaded);
    } catch (error) {
      if (signal.aborted) return;
      const reason = error instanceof Error ? error.message : String(error);
      this.#pause = { reason, endsAt: Date.now() + pauseMs };
      onWarning(this.#notThere(this.#pause).message);
    }
  }

  #notThere({ reason, endsAt }: Pause): DeviceError {
    const seconds = Math.max(1, Math.ceil((endsAt - Date.now()) / 1000));
    return new DeviceError(
      "device-lost",
      `The device ${this.#options.device} was lost, and the model could not be loaded again: ${reason} ` +
        `The next attempt is in ${seconds} s; where none helps, restart the process.`,
    );
  }
}

function rest(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}
