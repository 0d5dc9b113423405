// Pictures one after the other, beside the runs of the decoder: whoever is first in order has theirs encoded, and
// everybody who waits for the same picture gets it too. It knows nothing of slots.

import type { FeatureCache } from "./feature-cache.ts";
import type { Pace } from "./pace.ts";
import type { Forgettable } from "./prefix-blocks.ts";
import { type Sequence, withResolvers } from "./sequence.ts";
import type { VisionEncoder, VisionFeatures } from "./vision-encoder.ts";

export interface VisionLaneOptions {
  readonly visionEncoder: Pick<VisionEncoder, "encode">;
  readonly features: FeatureCache;
  readonly pace: Pace;
  /** Those who may wait for a picture. */
  readonly sequences: ReadonlySet<Sequence>;
  /** There may be something new to do. */
  readonly onChange: () => void;
  readonly onFailure: (sequence: Sequence, error: unknown) => void;
}

interface Run {
  readonly key: string;
  readonly controller: AbortController;
  ended: Promise<void>;
  /** Its features go to those who wait, and are not kept. */
  forgotten: boolean;
}

/** One picture at a time. */
export class VisionLane {
  readonly #options: VisionLaneOptions;
  #run: Run | undefined;
  #disturb: (() => void) | undefined;

  constructor(options: VisionLaneOptions) {
    this.#options = options;
  }

  /** Is a picture being encoded? */
  get busy(): boolean {
    return this.#run !== undefined;
  }

  /** @param order sequences that wait for pictures or for their prompt, first served first */
  hasWork(order: readonly Sequence[]): boolean {
    return this.#run === undefined && order[0]?.stage === "seeing";
  }

  /** Begins the next picture, unless whoever is first in order needs the decoder now: pictures slow it down. */
  next(order: readonly Sequence[]): void {
    if (!this.hasWork(order)) return;
    const picture = order[0]?.unseen[0];
    if (!picture) return;
    const controller = new AbortController();
    const run: Run = { key: picture.key, controller, ended: Promise.resolve(), forgotten: false };
    this.#run = run;
    run.ended = this.#encode(picture, run);
  }

  /** Resolves when no picture is being encoded, after so many milliseconds, or when it is disturbed. */
  async idle(withinMs: number): Promise<void> {
    if (!this.#run || withinMs <= 0) return;
    const { promise: over, resolve } = withResolvers();
    this.#disturb = resolve;
    const timer = setTimeout(resolve, withinMs);
    await Promise.race([this.#run.ended, over]);
    clearTimeout(timer);
    this.#disturb = undefined;
  }

  /** There is something else to do than to wait for a picture. */
  disturb(): void {
    this.#disturb?.();
  }

  /** Work ahead of time makes room for a request that does not want the same. */
  giveWay(to: Sequence): void {
    const run = this.#run;
    if (!run || to.pictures.some(({ key }) => key === run.key)) return;
    if (this.#wanting(run.key).every(({ ahead }) => ahead)) run.controller.abort();
  }

  /** Somebody has left. What nobody wants any more is stopped. */
  leave(): void {
    if (this.#run && this.#wanting(this.#run.key).length === 0) this.#run.controller.abort();
  }

  /** Does not keep what is being computed. */
  forget({ picture }: Forgettable): void {
    if (this.#run && picture?.(this.#run.key)) this.#run.forgotten = true;
  }

  /** Stops, and resolves when nothing runs. */
  async close(): Promise<void> {
    this.#run?.controller.abort();
    await this.#run?.ended;
  }

  async #encode({ tensor, key, length }: Sequence["pictures"][number], run: Run): Promise<void> {
    const { visionEncoder, pace } = this.#options;
    const { signal } = run.controller;
    try {
      const started = performance.now();
      const features = await visionEncoder.encode(tensor, { signal });
      pace.picture(length, performance.now() - started);
      this.#share(key, features, run);
    } catch (error) {
      // Who waits although it was stopped came later, or computes ahead of time: their turn comes again.
      if (!signal.aborted) {
        for (const sequence of this.#wanting(key)) this.#options.onFailure(sequence, error);
      }
    } finally {
      this.#run = undefined;
      this.#options.onChange();
    }
  }

  #share(key: string, features: VisionFeatures, { forgotten }: Run): void {
    for (const sequence of this.#wanting(key)) {
      if (!forgotten && !sequence.forgotten) this.#options.features.set(key, features, sequence);
      for (const picture of sequence.unseen) {
        if (picture.key !== key) continue;
        picture.features = features;
        sequence.encodedPictures++;
      }
      if (sequence.unseen.length > 0) continue;
      sequence.watch.begin("prefillMs");
      sequence.stage = "reading";
    }
  }

  #wanting(key: string): Sequence[] {
    return [...this.#options.sequences].filter(
      ({ stage, unseen }) => stage === "seeing" && unseen.some((picture) => picture.key === key),
    );
  }
}
