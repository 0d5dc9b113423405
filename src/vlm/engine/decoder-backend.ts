// The decoder as the loop sees it: slots that hold the keys and values of one sequence each, and runs over them.
// Types only. Who implements them decides what lies where; the loop never sees an address.

import type { VisionFeatures } from "./vision-encoder.ts";

/** A picture among the tokens of a prompt. */
export interface PlacedFeatures {
  /** Index of its first token. Negative when its first tokens are in the slot already. */
  readonly start: number;
  readonly features: VisionFeatures;
}

/** Tokens that follow those in a slot. */
export interface DecoderInput {
  /** (S) */
  readonly ids: Int32Array;
  /** (3, S): time, height and width. */
  readonly positions: Int32Array;
  /** In order of appearance; only those that have a token in here. */
  readonly images?: readonly PlacedFeatures[];
}

/** Logits of one token's successor, (vocab). They are the backend's own buffer: the next run writes there. */
export type Scores = Float32Array | TopScores;

/** The highest of the logits, where fetching all of them would cost time. */
export interface TopScores {
  /** (k) in falling order of their scores, which are logits. */
  readonly ids: readonly number[];
  readonly scores: Float32Array;
  /** All of them after all, (vocab), until the next run. */
  full(): Promise<Float32Array>;
}

/** Keys and values of a few tokens, copied out of a slot. What is inside is its backend's affair. */
export interface KvBlock {
  readonly tokens: number;
  readonly byteLength: number;
  /** A copy in the memory of the host, which slots take as well; undefined where it lies there already. */
  readonly toHost?: (() => Promise<KvBlock>) | undefined;
  /** Gives memory back that no garbage collector knows of. The block is of no use afterwards. */
  dispose?(): void;
}

/** The place of one sequence. One run at a time. */
export interface KvSlot {
  /** Most tokens that fit. */
  readonly capacity: number;
  /** Tokens that it holds. What lies beyond is of no meaning and never read. */
  readonly length: number;
  /** Forgets all tokens from `length` on. */
  truncate(length: number): void;
  /** Copies the tokens from `start` to `end` out. */
  read(start: number, end: number): Promise<KvBlock>;
  /** Appends the first `tokens` of a block, which were computed after exactly the tokens that the slot holds. */
  append(block: KvBlock, tokens: number): Promise<void>;
  /**
   * Nobody computes in it, and what it holds may be gone on from; it may be disposed of for others. Undefined where slots
   * that lie idle would cost time.
   */
  parked?: boolean;
  readonly disposed: boolean;
  /** Gives the place to others. Calling it again is fine. */
  dispose(): void;
  /**
   * The same, where what it holds may be no numbers. Undefined where what lies beyond a length is not so much as looked at.
   */
  spoil?(): void;
}

/** Slots, all of one size. */
export interface SlotPool {
  /** Sequences that have a place at once. */
  readonly count: number;
  /** Most tokens of one sequence. */
  readonly capacity: number;
  /** @throws RangeError when every slot is taken */
  open(): KvSlot;
}

/** One sequence of a decode run. */
export interface DecodeRow {
  readonly slot: KvSlot;
  /** The token to append. */
  readonly id: number;
  /** On all three axes. */
  readonly position: number;
}

export interface BackendRunOptions {
  /** Aborting ends the run; the slots are as before. */
  readonly signal?: AbortSignal | undefined;
}

export interface AppendOptions extends BackendRunOptions {
  /** After which tokens scores are wanted. @default "last" */
  readonly scores?: "none" | "last" | "all";
  /** Whose step it is when it fails: a prompt's, or that of an answer whose guesses are checked. @default "prefill" */
  readonly stage?: "prefill" | "decode";
}

/** Runs over slots of one pool. The loop never asks for two at once. */
export interface DecoderBackend {
  /**
   * Appends a few tokens to one slot, in one run.
   *
   * @returns the scores that are wanted, in order
   * @throws InferenceError of that stage; RangeError when the tokens do not fit; the signal's reason when aborted
   */
  append(input: DecoderInput, slot: KvSlot, options?: AppendOptions): Promise<readonly Scores[]>;
  /**
   * Appends one token of text to each of several slots, in one run.
   *
   * @returns scores, in the order of the rows
   * @throws InferenceError `decode`; RangeError when a slot is full; the signal's reason when aborted
   */
  decode(rows: readonly DecodeRow[], options?: BackendRunOptions): Promise<readonly Scores[]>;
  /** Both in one run, which reads the weights once. Undefined where a device or a package cannot. */
  readonly together?: JoinedRuns["together"] | undefined;
}

export interface JoinedRuns {
  /**
   * Appends a few tokens to one slot, and one token of text to each of several others, in one run.
   *
   * @returns the scores after the last of the few, then those of the rows, in their order
   * @throws what `append` and `decode` throw; all slots are as before then
   */
  together(
    input: DecoderInput,
    slot: KvSlot,
    rows: readonly DecodeRow[],
    options?: BackendRunOptions,
  ): Promise<readonly Scores[]>;
}
