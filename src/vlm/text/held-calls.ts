// Calls that the model makes by itself, held to the tools it was given: each from its mark to its end, and nothing of what
// stands between them. In: tokens as they are chosen. Out: masks, and the mark that ends a call. It reads no calls.

import type { Constraint } from "../constrain/constraint.ts";
import type { TokenMask } from "../constrain/local-mask.ts";
import { isVlmError } from "../errors.ts";

/** How calls of some tools are held. */
export interface CallForm {
  /** The form of one more call, between its marks. */
  readonly begin: () => Promise<Constraint>;
  /** A call that cannot be held ends the answer with an error; else it is written freely. */
  readonly strict: boolean;
}

/** The calls of one answer. */
export class HeldCalls {
  readonly #form: CallForm | undefined;
  readonly #openId: number | undefined;
  readonly #closeId: number | undefined;
  #call: HeldCall | undefined;

  /** @param form left out: calls are written freely */
  constructor(form: CallForm | undefined, openId: number | undefined, closeId: number | undefined) {
    this.#form = form;
    this.#openId = openId;
    this.#closeId = closeId;
  }

  /** Inside a call that is held. */
  get on(): boolean {
    return this.#call !== undefined;
  }

  /** Tokens that may come in a call; undefined: any. @throws ResponseFormatError of a strict tool */
  get mask(): TokenMask | undefined {
    return this.#call?.mask;
  }

  /** The mark of the end, where the call is whole. */
  get due(): number | undefined {
    return this.#call?.ended ? this.#closeId : undefined;
  }

  /** Finds {@link mask} without holding anybody up. Undefined: it is there, or none is needed. Never rejects. */
  prepare(): Promise<void> | undefined {
    return this.#call?.prepare();
  }

  /** A token has come. @param inside it stands in a call, or opens one */
  take(id: number, inside: boolean): void {
    if (!inside || !this.#form) this.#call = undefined;
    else if (id === this.#openId) this.#call = new HeldCall(this.#form);
    else this.#call?.accept(id);
  }
}

/** One call, whose form may still be in the making. */
class HeldCall {
  readonly #strict: boolean;
  readonly #coming: Promise<void>;
  #form: Constraint | "coming" | "free" = "coming";
  #failure: unknown;

  constructor({ begin, strict }: CallForm) {
    this.#strict = strict;
    this.#coming = begin().then(
      (form) => {
        this.#form = form;
      },
      (error) => this.#fail(error),
    );
  }

  /** Says what is wrong; nothing else here does. */
  get mask(): TokenMask | undefined {
    if (this.#form === "coming") throw new TypeError("The form of a call has to be waited for");
    const mask = this.#kept((form) => form.mask);
    if (this.#failure !== undefined) throw this.#failure;
    return mask;
  }

  get ended(): boolean {
    return this.#kept((form) => form.ended) ?? false;
  }

  prepare(): Promise<void> | undefined {
    if (this.#form === "coming") return this.#coming;
    return this.#form === "free" ? undefined : this.#form.prepare();
  }

  accept(id: number): void {
    this.#kept((form) => form.accept(id));
  }

  #kept<T>(ask: (form: Constraint) => T): T | undefined {
    if (typeof this.#form === "string") return undefined;
    try {
      return ask(this.#form);
    } catch (error) {
      this.#fail(error);
      return undefined;
    }
  }

  #fail(error: unknown): void {
    const refused = isVlmError(error) && error.name === "ResponseFormatError";
    if (this.#strict || !refused) this.#failure = error;
    this.#form = "free";
  }
}
