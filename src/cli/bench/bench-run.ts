// What all measurements of one run share: the model, what is asked, the figures so far, and how often to repeat.

import type { ChatMessage, VisionLanguageModel } from "../../vlm/index.ts";
import { print } from "../terminal.ts";
import { type Answer, ask } from "./ask.ts";
import { type Gaps, watchEventLoop } from "./event-loop-gaps.ts";
import { type Figure, type FigureName, figure } from "./figure.ts";
import { RandomChat } from "./random-chat.ts";

/** At most so many samples of one figure. */
const SAMPLES = 5;

export interface BenchRunOptions {
  readonly model: VisionLanguageModel;
  /** Time for the samples of one figure; at least one is taken, and two if they fit. */
  readonly budgetMs: number;
  readonly signal: AbortSignal;
}

export class BenchRun {
  readonly model: VisionLanguageModel;
  readonly signal: AbortSignal;
  readonly chat = new RandomChat(Date.now());
  readonly figures: Figure[] = [];
  /** What could not be measured, and why. */
  readonly missing: { readonly id: string; readonly reason: string }[] = [];
  /** Longest time that the event loop was held up, by what was measured. */
  readonly gaps = new Map<string, Pick<Gaps, "longestMs" | "longestOwnMs">>();
  /** Most memory of the process so far, in bytes. */
  peakRss = 0;
  readonly #budgetMs: number;

  constructor({ model, budgetMs, signal }: BenchRunOptions) {
    this.model = model;
    this.#budgetMs = budgetMs;
    this.signal = signal;
  }

  /** Asks once, with an eye on the event loop. */
  async ask(kind: string, messages: readonly ChatMessage[], maxTokens = 1): Promise<Answer> {
    this.signal.throwIfAborted();
    const request = { messages, maxTokens, signal: this.signal };
    const { result } = await this.watch(kind, () => ask(this.model, request));
    return result;
  }

  /** Runs `work` and notes under `kind` how long it held up the event loop. */
  async watch<T>(kind: string, work: () => Promise<T>): Promise<{ result: T }> {
    const { result, gaps, peakRss } = await watchEventLoop(work);
    this.noteGaps(kind, gaps);
    this.peakRss = Math.max(this.peakRss, peakRss);
    return { result };
  }

  noteGaps(kind: string, { longestMs, longestOwnMs }: Gaps): void {
    const before = this.gaps.get(kind);
    this.gaps.set(kind, {
      longestMs: Math.max(before?.longestMs ?? 0, longestMs),
      longestOwnMs:
        longestOwnMs === undefined ? undefined : Math.max(before?.longestOwnMs ?? 0, longestOwnMs),
    });
  }

  /** Takes samples until there are enough or the time is used up. Each call gives one sample or several. */
  async sample(name: FigureName, take: () => Promise<number | readonly number[]>): Promise<Figure> {
    const samples: number[] = [];
    const start = performance.now();
    for (let round = 0; round < SAMPLES; round++) {
      const spent = performance.now() - start;
      // What one round took says whether another fits.
      if (round > 0 && spent + spent / round > this.#budgetMs) break;
      const taken = await take();
      samples.push(...(typeof taken === "number" ? [taken] : taken));
    }
    return this.add(name, samples);
  }

  unavailable(id: string, reason: string): void {
    this.missing.push({ id, reason });
    print(`  ${id}: not available, ${reason}`);
  }

  add(name: FigureName, samples: readonly number[]): Figure {
    const made = figure(name, samples);
    this.figures.push(made);
    print(
      `  ${made.label}: ${made.median.toPrecision(4)} ${made.unit}${made.noisy ? " (±30 %+)" : ""}`,
    );
    return made;
  }
}
