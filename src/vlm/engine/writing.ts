// One run for those who write: the next token of each, or several guesses for one who writes alone, or the next token of
// each beside a piece of somebody's prompt. In: sequences with a chosen token. Out: scores, handed on one by one.

import { TimeSlice } from "../event-loop/time-slice.ts";
import type { DecodeRow, DecoderBackend, DecoderInput, Scores } from "./decoder-backend.ts";
import type { Speculation } from "./draft.ts";
import type { Pace } from "./pace.ts";
import { allAborted } from "./run-signal.ts";
import type { Sequence } from "./sequence.ts";

export interface WritingOptions {
  readonly decoder: DecoderBackend;
  /** Left out: no guesses. */
  readonly speculation?: Pick<Speculation, "draft" | "ran" | "checked"> | undefined;
  readonly pace: Pace;
  /** Lets a sequence choose its next token, or end. Never throws. */
  readonly hand: (sequence: Sequence, scores: Scores) => Promise<void>;
}

/** Decode steps. */
export class Writing {
  readonly #options: WritingOptions;

  constructor(options: WritingOptions) {
    this.#options = options;
  }

  /**
   * @param beside is a picture encoded meanwhile?
   * @throws what the run throws: it concerns all of the sequences that have not ended
   */
  async goOn(writers: readonly Sequence[], beside: boolean): Promise<void> {
    const { pace, speculation } = this.#options;
    const run = allAborted(writers.map(({ signal }) => signal));
    const alone = writers.length === 1 ? writers[0] : undefined;
    const draft = alone ? this.#draftFor(alone) : [];
    try {
      const started = performance.now();
      const scores =
        alone && draft.length > 0
          ? await this.#tryDraft(alone, draft, run.signal)
          : await this.#step(writers, run.signal);
      const ms = performance.now() - started;
      if (draft.length === 0) pace.step(writers.length, ms, beside);
      if (alone && !beside) speculation?.ran(draft.length + 1, ms);
      if (alone && draft.length > 0) await this.#check(alone, draft, scores);
      else await this.#handOut(writers, scores);
    } finally {
      run.end();
    }
  }

  /**
   * The next token of each, and a piece of the prompt of one who reads.
   *
   * @returns the scores after that piece, until the next run
   * @throws what the run throws: it concerns any of them, and nothing has changed
   */
  async goOnBeside(reading: Sequence, chunk: DecoderInput, writers: readonly Sequence[]) {
    const { decoder, pace } = this.#options;
    const run = allAborted([reading, ...writers].map(({ signal }) => signal));
    try {
      const started = performance.now();
      const rows = writers.map(rowOf);
      const { signal } = run;
      const [last, ...scores] = await decoder.together!(chunk, reading.slot!, rows, { signal });
      pace.together(chunk.ids.length, writers.length, performance.now() - started);
      await this.#handOut(writers, scores);
      return last!;
    } finally {
      run.end();
    }
  }

  #step(writers: readonly Sequence[], signal: AbortSignal): Promise<readonly Scores[]> {
    return this.#options.decoder.decode(writers.map(rowOf), { signal });
  }

  async #handOut(writers: readonly Sequence[], scores: readonly Scores[]): Promise<void> {
    const slice = new TimeSlice();
    for (const [index, sequence] of writers.entries()) {
      sequence.content.push(sequence.pending);
      await this.#options.hand(sequence, scores[index]!);
      if (slice.over) await slice.rest();
    }
  }

  #draftFor({ content, pending, slot, reader }: Sequence): readonly number[] {
    const room = slot!.capacity - slot!.length - 1;
    if (reader?.ahead) return reader.ahead.slice(0, room);
    return this.#options.speculation?.draft(content, pending, room) ?? [];
  }

  /** Computes guesses as if they had been chosen. */
  #tryDraft(sequence: Sequence, draft: readonly number[], signal: AbortSignal) {
    const input = sequence.text([sequence.pending, ...draft]);
    const options = { scores: "all", stage: "decode", signal } as const;
    return this.#options.decoder.append(input, sequence.slot!, options);
  }

  /** Keeps guesses as far as the reader does choose them. */
  async #check(sequence: Sequence, draft: readonly number[], scores: readonly Scores[]) {
    const { content } = sequence;
    const slice = new TimeSlice();
    let right = 0;
    for (const row of scores) {
      if (slice.over) await slice.rest();
      content.push(sequence.pending);
      const { length } = content;
      await this.#options.hand(sequence, row);
      const elsewhere = content.length !== length || sequence.pending !== draft[right];
      if (sequence.stage !== "writing" || elsewhere) break;
      right++;
    }
    if (!sequence.reader?.ahead) this.#options.speculation?.checked(content, draft.length, right);
    sequence.slot?.truncate(content.length);
  }
}

function rowOf({ slot, pending, nextPosition }: Sequence): DecodeRow {
  return { slot: slot!, id: pending, position: nextPosition };
}
