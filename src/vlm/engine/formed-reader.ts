// The likeliest text of some form behind a prompt, token by token, and how likely it was among all of that form.
// In: scores. Out: bytes and a probability. It knows nothing of what the text means.

import type { Constraint } from "../constrain/constraint.ts";
import { allows } from "../constrain/local-mask.ts";
import { InferenceError } from "../errors.ts";
import type { Scores } from "./decoder-backend.ts";
import type { TakenToken, TokenReader } from "./sequence.ts";

export class FormedReader implements TokenReader {
  readonly #constraint: Constraint;
  readonly #tokenBytes: (id: number) => Uint8Array;
  readonly #bytes: number[] = [];
  #logProbability = 0;

  constructor(constraint: Constraint, tokenBytes: (id: number) => Uint8Array) {
    this.#constraint = constraint;
    this.#tokenBytes = tokenBytes;
  }

  get text(): string {
    return Buffer.from(this.#bytes).toString("utf8");
  }

  /** Of each token among those that could stand there, multiplied. */
  get probability(): number {
    return Math.exp(this.#logProbability);
  }

  get ready(): Promise<void> | undefined {
    return this.#constraint.prepare();
  }

  take(scores: Scores): TakenToken {
    if (!(scores instanceof Float32Array)) return "needs-all-scores";
    const { mask } = this.#constraint;
    let best = -1;
    let sum = 0;
    for (let id = 0; id < scores.length; id++) {
      if (allows(mask, id) && (best === -1 || scores[id]! > scores[best]!)) best = id;
    }
    if (best === -1 || !Number.isFinite(scores[best])) {
      throw new InferenceError("sampling", "The logits are no distribution.");
    }
    for (let id = 0; id < scores.length; id++) {
      if (allows(mask, id)) sum += Math.exp(scores[id]! - scores[best]!);
    }
    this.#logProbability -= Math.log(sum);
    this.#bytes.push(...this.#tokenBytes(best));
    this.#constraint.accept(best);
    return this.#constraint.ended ? undefined : best;
  }
}
