// One of several models: how much it has to do, and whether it is left alone after a failure. It asks nothing itself.

import { isVlmError, RemoteError } from "../errors.ts";
import type { VisionLanguageModel } from "../vision-language-model.ts";

/** Failures that say nothing of the next request: too much at once, too long, a form or words not to its liking. */
const NO_FAILURE: readonly string[] = [
  "queue-full",
  "prompt-too-long",
  "remote-refused",
  "remote-filtered",
  "remote-no-logprobs",
  "remote-undecided",
  "response-format-unsupported",
  "response-format-too-complex",
];

export class Candidate {
  readonly model: VisionLanguageModel;
  readonly #maxRequests: number;
  readonly #coolDownMs: number;
  #requests = 0;
  #restsUntil = 0;

  constructor(model: VisionLanguageModel, maxRequests: number, coolDownMs: number) {
    this.model = model;
    this.#maxRequests = maxRequests;
    this.#coolDownMs = coolDownMs;
  }

  get hasRoom(): boolean {
    return this.#requests < this.#maxRequests;
  }

  /** Requests that are under way, as a share of what it may have. */
  get load(): number {
    return this.#requests / this.#maxRequests;
  }

  /** Left alone: it has failed, and the pause is not over, or the one request that tries it is under way. */
  get resting(): boolean {
    return this.#restsUntil > performance.now() || (this.#restsUntil > 0 && this.#requests > 0);
  }

  /** On the clock of `performance.now()`. */
  get restsUntil(): number {
    return this.#restsUntil;
  }

  /** A request goes to it. @returns what to call when that has ended */
  begin(): () => void {
    this.#requests++;
    return () => {
      this.#requests--;
    };
  }

  succeeded(): void {
    this.#restsUntil = 0;
  }

  failed(error: unknown): void {
    if (isVlmError(error) && NO_FAILURE.includes(error.code)) return;
    const wanted = error instanceof RemoteError ? error.retryAfterMs : undefined;
    this.#restsUntil = performance.now() + (wanted ?? this.#coolDownMs);
  }
}
