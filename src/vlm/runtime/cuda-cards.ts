// The CUDA cards of this process: each is opened once, and once more after it was lost. In: a number. Out: a card.

import { CudaDevice } from "./cuda-device.ts";
import type { CudaNative, RungListener } from "./cuda-ladder.ts";
import { findCudaPlugin } from "./cuda-plugin.ts";
import { DeviceThread } from "./device-thread.ts";
import { loadOrt } from "./ort.ts";
import { ProviderPlugins } from "./provider-plugins.ts";

/** Cards by index. */
export class CudaCards {
  readonly #opened = new Map<number, Promise<CudaDevice>>();
  /** Lost, and not given up yet: sessions of this process are on it. */
  readonly #lost = new Map<number, CudaDevice[]>();
  readonly #start: (name: string) => CudaNative;

  /** @param start the libraries, and a thread of this name: one for each card */
  constructor(start: (name: string) => CudaNative) {
    this.#start = start;
  }

  /**
   * The card of this number, opened at the first call.
   *
   * @throws ModelLoadError `device-unavailable`
   */
  async open(index: number, told?: RungListener): Promise<CudaDevice> {
    const opening = this.#opened.get(index) ?? this.#begin(index, told);
    const card = await opening;
    if (!card.loss.aborted) return card;
    // It may be there again, for a new thread.
    if (this.#opened.get(index) === opening) {
      this.#opened.delete(index);
      this.#lost.set(index, [...(this.#lost.get(index) ?? []), card]);
    }
    return this.open(index, told);
  }

  /** Gives up what was lost, once nothing of this process is on it: until then CUDA goes on failing. */
  async #giveUp(index: number): Promise<void> {
    const lost = this.#lost.get(index) ?? [];
    if (lost.some(({ sessions }) => sessions.size > 0)) return;
    this.#lost.delete(index);
    for (const card of lost) await card.abandon();
  }

  #begin(index: number, told: RungListener | undefined): Promise<CudaDevice> {
    const native = this.#start(`cuda:${index}`);
    const opening = this.#giveUp(index)
      .then(() => CudaDevice.open(index, native, told))
      .catch(async (error: unknown) => {
        this.#opened.delete(index); // A later call tries again.
        await native.thread.end();
        throw error;
      });
    this.#opened.set(index, opening);
    return opening;
  }
}

const cards = new CudaCards((name) => {
  const [ort, thread] = [loadOrt(), new DeviceThread(name)];
  return { ort, thread, plugins: new ProviderPlugins(ort, thread), findPlugin: findCudaPlugin };
});

/**
 * The card of this number, opened at the first call.
 *
 * @throws ModelLoadError `device-unavailable`
 */
export function openCuda(index: number, told?: RungListener): Promise<CudaDevice> {
  return cards.open(index, told);
}
