// The loop for all chats: sequences in, tokens to their readers out. One run of the decoder at a time, and beside it at
// most one picture is encoded. It chooses what runs next; what runs, and what lies where, is the business of its parts.

import { setImmediate as nextTurn } from "node:timers/promises";
import { DisposedError } from "../errors.ts";
import { Admission } from "./admission.ts";
import type { DecoderBackend, Scores, SlotPool } from "./decoder-backend.ts";
import type { Speculation } from "./draft.ts";
import type { FeatureCache } from "./feature-cache.ts";
import { NoNumbersError } from "./high-scores.ts";
import { Pace } from "./pace.ts";
import type { Forgettable } from "./prefix-blocks.ts";
import type { PrefixCache } from "./prefix-cache.ts";
import { Reading } from "./reading.ts";
import type { Sequence } from "./sequence.ts";
import { StallBudget } from "./stall-budget.ts";
import type { VisionEncoder } from "./vision-encoder.ts";
import { VisionLane } from "./vision-lane.ts";
import { Writing } from "./writing.ts";

export interface EngineOptions {
  readonly decoder: DecoderBackend;
  readonly slots: SlotPool;
  readonly visionEncoder: Pick<VisionEncoder, "encode">;
  readonly features: FeatureCache;
  readonly prefixes: PrefixCache;
  /** Guesses for whoever writes alone; left out: none. */
  readonly speculation?: Pick<Speculation, "draft" | "ran" | "checked"> | undefined;
  /** Requests that may wait for a slot. */
  readonly maxQueue: number;
  /** Longest time for which nobody's text stands still because of somebody else's prompt. */
  readonly maxStallMs: number;
  /** Most tokens of a prompt in one run. */
  readonly maxChunkTokens: number;
}

/** The engine of one model. */
export class Engine {
  readonly #options: EngineOptions;
  readonly #admission: Admission;
  readonly #pace = new Pace();
  readonly #vision: VisionLane;
  readonly #writing: Writing;
  readonly #stall: StallBudget;
  readonly #reading: Reading;
  #awake: Promise<void> | undefined;
  /** What whoever comes now is told. */
  #closed: Error | undefined;

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#admission = new Admission(options);
    this.#vision = new VisionLane({
      ...options,
      pace: this.#pace,
      sequences: this.#admission.running,
      onChange: () => this.#wake(),
      onFailure: (sequence, error) => this.#fail(sequence, error),
    });
    this.#stall = new StallBudget({ ...options, pace: this.#pace });
    this.#writing = new Writing({
      ...options,
      pace: this.#pace,
      hand: (sequence, scores) => this.#hand(sequence, scores),
    });
    const [pace, stall, writing] = [this.#pace, this.#stall, this.#writing];
    this.#reading = new Reading({ ...options, pace, stall, writing });
  }

  /** @throws QueueFullError when a request that came now would be refused */
  expectRoom(): void {
    if (this.#closed) throw this.#closed;
    this.#admission.expectRoom();
  }

  /**
   * Runs a sequence to its end.
   *
   * @throws QueueFullError, InferenceError, whatever its reader throws; its signal's reason when that aborts
   */
  async run(sequence: Sequence): Promise<void> {
    sequence.signal.throwIfAborted();
    if (this.#closed) throw this.#closed;
    const admission = this.#admission;
    admission.expectRoom(sequence.ahead);
    const onAbort = () => {
      if (admission.remove(sequence)) sequence.end({ error: sequence.signal.reason });
      else this.#wake();
    };
    sequence.signal.addEventListener("abort", onAbort, { once: true });
    try {
      sequence.watch.begin("queueMs");
      admission.add(sequence);
      if (!sequence.ahead) this.#vision.giveWay(sequence);
      this.#wake();
      await sequence.done;
    } finally {
      sequence.signal.removeEventListener("abort", onAbort);
      this.#vision.leave();
    }
  }

  /** Takes away what is kept of pictures and chats. What was asked before is not kept later, either. */
  forget(what: Forgettable): { readonly bytes: number } {
    this.#admission.forget(what);
    this.#vision.forget(what);
    const features = this.#options.features.forget(what);
    const prefixes = this.#options.prefixes.forget(what);
    return { bytes: features.bytes + prefixes.bytes };
  }

  /**
   * Sends the waiting away with an error, and resolves when nothing runs. Whoever runs must be aborted by its own signal,
   * or fail by itself.
   */
  async close(why: Error = new DisposedError("The model")): Promise<void> {
    this.#closed = why;
    this.#admission.dismissWaiting(why);
    await this.#vision.close();
    await this.#awake;
    this.#admission.clear();
  }

  #wake(): void {
    this.#vision.disturb();
    this.#awake ??= this.#work();
  }

  /** The loop. It ends when nothing can be done, and whatever changes that wakes it again. */
  async #work(): Promise<void> {
    await Promise.resolve(); // whoever woke it goes on first
    while (this.#hasWork()) {
      this.#dismissAborted();
      await this.#admit();
      this.#vision.next(this.#inOrder(["seeing", "reading"]));
      const [prompt] = this.#inOrder(["reading"]);
      const writers = this.#at("writing");
      if (prompt && this.#reading.joins(writers)) await this.#readAndWriteOn(prompt, writers);
      else {
        if (prompt) await this.#readOn(prompt);
        if (!this.#mayReadOn()) await this.#writeOn(this.#at("writing"));
      }
    }
    this.#awake = undefined;
  }

  #hasWork(): boolean {
    const running = [...this.#admission.running];
    return (
      running.some(({ stage }) => stage === "writing") ||
      this.#inOrder(["reading"]).length > 0 ||
      this.#hasChanged() ||
      this.#vision.hasWork(this.#inOrder(["seeing", "reading"]))
    );
  }

  /** Has somebody come who can have a slot, or left? */
  #hasChanged(): boolean {
    const { nextFits, running } = this.#admission;
    return nextFits || [...running].some(({ signal }) => signal.aborted);
  }

  #dismissAborted(): void {
    for (const sequence of this.#admission.running) {
      if (sequence.signal.aborted) this.#fail(sequence, sequence.signal.reason);
    }
  }

  /** Gives slots to those who wait, and looks up what of their prompts was computed before. */
  async #admit(): Promise<void> {
    for (let next = this.#admission.take(); next; next = this.#admission.take()) {
      await this.#prepare(next);
    }
    this.#admission.announce();
  }

  /** Takes what there is, and finds out what is missing. */
  async #prepare(sequence: Sequence): Promise<void> {
    try {
      await this.#reading.reuse(sequence);
      for (const picture of sequence.unseen) {
        picture.features = this.#options.features.get(picture.key, sequence);
      }
      if (sequence.unseen.length > 0) {
        sequence.watch.begin("visionMs");
        sequence.stage = "seeing";
      } else {
        sequence.watch.begin("prefillMs");
        sequence.stage = "reading";
      }
    } catch (error) {
      this.#fail(sequence, error);
    }
  }

  /** A chunk of a prompt, and the answer begins if that was the last. */
  async #readOn(sequence: Sequence): Promise<void> {
    // Its pictures are encoded; for a prompt there is no place to keep it.
    if (sequence.ahead && !this.#options.prefixes.enabled) return this.#finish(sequence);
    try {
      await this.#hasRead(sequence, await this.#reading.goOn(sequence, this.#at("writing").length));
    } catch (error) {
      this.#fail(sequence, sequence.signal.aborted ? sequence.signal.reason : error);
    }
  }

  /** The same, and in the same run a token for everybody who is writing. */
  async #readAndWriteOn(sequence: Sequence, writers: readonly Sequence[]): Promise<void> {
    try {
      const scores = await this.#reading.goOnBeside(sequence, writers);
      this.#stall.gotText();
      await this.#hasRead(sequence, scores);
    } catch {
      // Whom of them it concerns shows when they run apart.
      await this.#readOn(sequence);
      await this.#writeOn(writers.filter(({ stage }) => stage === "writing"));
    }
  }

  async #hasRead(sequence: Sequence, scores: Scores | undefined): Promise<void> {
    if (sequence.remaining === 0) await this.#beginWriting(sequence, scores);
    if (sequence.stage !== "ended") await this.#reading.remember(sequence);
  }

  async #beginWriting(sequence: Sequence, scores: Scores | undefined): Promise<void> {
    if (!scores) return this.#finish(sequence);
    if (this.#at("writing").length === 0) this.#stall.gotText();
    sequence.stage = "writing";
    sequence.watch.begin("decodeMs");
    await this.#hand(sequence, scores);
    // The first word goes out before what was computed for it is put away.
    if (sequence.stage === "writing") await nextTurn();
  }

  /**
   * A token for everybody who is writing. While a picture is encoded they write as slowly as they may: somebody waits for a
   * first word, both want the same cores, and whoever begins to write joins the others in the same runs.
   */
  async #writeOn(writers: readonly Sequence[]): Promise<void> {
    if (writers.length === 0) return;
    if (!this.#hasChanged()) await this.#vision.idle(this.#stall.pauseMs(writers.length));
    // Somebody's picture is seen by now: those who write go on in the run of that prompt, or behind it. Or somebody has
    // come or left meanwhile.
    if (this.#mayReadOn() || this.#hasChanged()) return;
    try {
      await this.#writing.goOn(writers, this.#vision.busy);
      this.#stall.gotText();
    } catch (error) {
      for (const sequence of writers) {
        const { aborted, reason } = sequence.signal;
        if (sequence.stage === "writing") this.#fail(sequence, aborted ? reason : error);
      }
    }
  }

  /** Lets the reader choose the next token. */
  async #hand(sequence: Sequence, scores: Scores): Promise<void> {
    const reader = sequence.reader!;
    const ready = reader.ready;
    if (ready) await ready;
    if (sequence.signal.aborted) return this.#fail(sequence, sequence.signal.reason);
    try {
      let next = reader.take(scores);
      if (next === "needs-all-scores" && !(scores instanceof Float32Array)) {
        next = reader.take(await scores.full());
      }
      if (next === "needs-all-scores") throw new TypeError("There are no more scores");
      if (next === undefined) await this.#finish(sequence);
      else sequence.goOn(next);
    } catch (error) {
      this.#fail(sequence, error);
    }
  }

  /** Its reader gets to know at once; then what it leaves behind is kept for the next question. */
  async #finish(sequence: Sequence): Promise<void> {
    sequence.end();
    await nextTurn();
    const { content, slot } = sequence;
    if (slot) {
      await this.#options.prefixes
        .remember(content, slot, sequence, { tail: true })
        // A cache that could not be filled costs time later, and nothing else.
        .catch(() => {});
    }
    this.#admission.leave(sequence);
  }

  #fail(sequence: Sequence, error: unknown): void {
    if (error instanceof NoNumbersError) this.#distrust();
    if (sequence.suspect) sequence.slot?.spoil?.();
    sequence.slot?.dispose();
    this.#admission.leave(sequence);
    sequence.end({ error });
  }

  /**
   * Somewhere something became no number, and what was computed from it since cannot be told from the rest: nothing that is
   * kept is used again, and what runs is not kept.
   */
  #distrust(): void {
    this.#admission.distrust();
    this.#vision.forget({ picture: () => true });
    this.#options.features.clear();
    this.#options.prefixes.clear();
  }

  #at(...stages: readonly string[]): Sequence[] {
    return [...this.#admission.running].filter(({ stage }) => stages.includes(stage));
  }

  /** Who is served first: by priority, then whoever needs least, as long as nobody waits for longer than they need. */
  #inOrder(stages: readonly string[]): Sequence[] {
    const { anyReal } = this.#admission;
    const need = (sequence: Sequence) => {
      const pictures = sequence.unseen.reduce((sum, { length }) => sum + length, 0);
      return this.#pace.estimate(sequence.remaining, pictures) - sequence.watch.elapsedMs;
    };
    return this.#at(...stages)
      .filter(({ ahead }) => !ahead || !anyReal)
      .map((sequence) => ({ sequence, need: need(sequence) }))
      .sort((a, b) => b.sequence.priority - a.sequence.priority || a.need - b.need)
      .map(({ sequence }) => sequence);
  }

  /** More of a prompt before those who write go on? */
  #mayReadOn(): boolean {
    const writers = this.#at("writing");
    const [next] = this.#inOrder(["reading"]);
    if (writers.length === 0 || next === undefined) return false;
    // In the next run they go on, too.
    if (this.#reading.joins(writers)) return true;
    return this.#stall.hasRoomFor(next.remaining, writers.length);
  }
}
