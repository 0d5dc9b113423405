// One running request as the loop sees it: its tokens, its pictures, its slot, how far it is, and who waits for it.
// It computes nothing.

import type { ImageTensor } from "../image/image-tensor.ts";
import { type ImageSpan, mropePositions } from "../text/position-ids.ts";
import type { DecoderInput, KvSlot, Scores } from "./decoder-backend.ts";
import { sliceInput } from "./decoder-input.ts";
import type { Owner } from "./prefix-cache.ts";
import type { Stopwatch } from "./stopwatch.ts";
import { TokenContent } from "./token-content.ts";
import type { VisionFeatures } from "./vision-encoder.ts";

/** Whoever reads what the model has to say after a prompt. */
export interface TokenReader {
  /**
   * Chooses the next token.
   *
   * @param scores valid during the call only
   * @returns the token to go on with; undefined when there is nothing more to say
   * @throws InferenceError `sampling`
   */
  take(scores: Scores): TakenToken;
  /** What the next `take` needs is still being found out; undefined: it is there. Never rejects. */
  readonly ready?: Promise<void> | undefined;
  /** Tokens that will be taken behind the one taken last, as far as that is sure: they are computed in one run with it. */
  readonly ahead?: readonly number[];
}

/** Goes on from an earlier place: so many tokens behind the prompt stay, and this one follows them. */
export interface OtherBranch {
  readonly keep: number;
  readonly id: number;
}

/** `needs-all-scores`: the highest alone were given and do not suffice. */
export type TakenToken = number | OtherBranch | "needs-all-scores" | undefined;

/** A picture at its place in the prompt; `rows` and `columns` in tokens. */
export interface PlacedPicture extends ImageSpan {
  readonly tensor: ImageTensor;
}

export interface SequenceOptions {
  /** (tokens) */
  readonly ids: Int32Array;
  /** In order of appearance. */
  readonly pictures: readonly PlacedPicture[];
  /** Left out: the prompt is computed ahead of time, for the cache alone. */
  readonly reader?: TokenReader | undefined;
  readonly chat: string | undefined;
  /** Higher goes first. */
  readonly priority: number;
  readonly onQueue?: ((position: number) => void) | undefined;
  readonly signal: AbortSignal;
  readonly watch: Stopwatch;
}

/** A picture of a sequence, and its features once they are there. */
interface SeenPicture extends PlacedPicture {
  readonly length: number;
  readonly key: string;
  features: VisionFeatures | undefined;
}

/** Waiting for a slot; for features of pictures; for its prompt to be computed; writing; done with. */
export type Stage = "queued" | "seeing" | "reading" | "writing" | "ended";

/** A request in the engine. */
export class Sequence implements Owner {
  readonly ids: Int32Array;
  readonly pictures: readonly SeenPicture[];
  readonly content: TokenContent;
  readonly reader: TokenReader | undefined;
  readonly chat: string | undefined;
  readonly priority: number;
  readonly onQueue: ((position: number) => void) | undefined;
  readonly signal: AbortSignal;
  readonly watch: Stopwatch;
  /** Settles when it has ended. */
  readonly done: Promise<void>;
  stage: Stage = "queued";
  slot: KvSlot | undefined;
  /** Chosen and not yet computed: what a decode step appends. */
  pending = 0;
  /** Tokens of the prompt that were taken from the cache. */
  reusedTokens = 0;
  /** Pictures that were encoded for it. */
  encodedPictures = 0;
  forgotten = false;
  /** What is in its slot may be no numbers. */
  suspect = false;
  readonly #positions: Int32Array; // (3, tokens)
  readonly #nextPosition: number;
  readonly #settle: { resolve: () => void; reject: (error: unknown) => void };

  constructor(options: SequenceOptions) {
    const { ids, pictures } = options;
    this.ids = ids;
    this.pictures = pictures.map((picture) => ({
      ...picture,
      length: picture.rows * picture.columns,
      key: picture.tensor.key,
      features: undefined,
    }));
    this.content = new TokenContent(ids, this.pictures);
    this.reader = options.reader;
    this.chat = options.chat;
    this.priority = options.priority;
    this.onQueue = options.onQueue;
    this.signal = options.signal;
    this.watch = options.watch;
    const { positions, nextPosition } = mropePositions(ids.length, pictures);
    this.#positions = positions;
    this.#nextPosition = nextPosition;
    const { promise, ...settle } = withResolvers();
    this.done = promise;
    this.#settle = settle;
  }

  /** Work for later, which gives way to everything else. */
  get ahead(): boolean {
    return this.reader === undefined;
  }

  /** Tokens of the prompt that are not in the slot. */
  get remaining(): number {
    return Math.max(0, this.ids.length - (this.slot?.length ?? 0));
  }

  /** Pictures that have a token still to be computed and no features. */
  get unseen(): readonly SeenPicture[] {
    const done = this.slot?.length ?? 0;
    return this.pictures.filter(
      ({ start, length, features }) => !features && start + length > done,
    );
  }

  /** Position of the token that comes after those in the slot, on all three axes, once the prompt is there. */
  get nextPosition(): number {
    return this.#nextPosition + (this.slot?.length ?? 0) - this.ids.length;
  }

  /** Tokens of the prompt that come next; their pictures must have been seen. */
  chunk(tokens: number): DecoderInput {
    const start = this.slot?.length ?? 0;
    const images = this.pictures.flatMap(({ start: first, features }) =>
      features ? [{ start: first, features }] : [],
    );
    const prompt = { ids: this.ids, positions: this.#positions, images };
    return sliceInput(prompt, start, Math.min(start + tokens, this.ids.length));
  }

  /** Tokens of text that come next. */
  text(ids: readonly number[]): DecoderInput {
    const first = this.nextPosition;
    const positions = Int32Array.from(
      { length: 3 * ids.length },
      (_, i) => first + (i % ids.length),
    );
    return { ids: Int32Array.from(ids), positions };
  }

  /** Goes on with a token, perhaps from an earlier place. */
  goOn(taken: number | OtherBranch): void {
    if (typeof taken !== "number") {
      const length = this.ids.length + taken.keep;
      this.content.truncate(length);
      this.slot?.truncate(length);
    }
    this.pending = typeof taken === "number" ? taken : taken.id;
  }

  /** It has ended: with a failure, or well. */
  end(failure?: { readonly error: unknown }): void {
    this.stage = "ended";
    if (failure) this.#settle.reject(failure.error);
    else this.#settle.resolve();
  }
}

/** `Promise.withResolvers` is not in Node 20. */
export function withResolvers() {
  let resolve = () => {};
  let reject: (error: unknown) => void = () => {};
  const promise = new Promise<void>((onDone, onError) => {
    resolve = onDone;
    reject = onError;
  });
  return { promise, resolve, reject };
}
