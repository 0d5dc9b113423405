// From the form that a request wants its answer in to the constraint of one answer. What is made for a form is kept for
// the next answer of the same form; what is made of the vocabulary, for all of them. All of it is made in small steps,
// so that nobody else has to wait, and stops when nobody waits for it. It knows no logits.

import { LRUCache } from "lru-cache";
import type { ResponseFormatError } from "../errors.ts";
import { SharedWork } from "../event-loop/shared-work.ts";
import type { KnownTool } from "../text/tool-call-text.ts";
import type { ResponseFormat } from "../vision-language-model.ts";
import { anyJson } from "./any-json.ts";
import { oneOf } from "./byte-nfa.ts";
import { callRule } from "./call-form.ts";
import { Constraint } from "./constraint.ts";
import { Effort } from "./effort.ts";
import { anyOf, automataOf, match, type Rule } from "./grammar.ts";
import { GrammarStates } from "./grammar-states.ts";
import { jsonSchemaRule } from "./json-schema.ts";
import { oneText } from "./json-terminals.ts";
import { LazyDfa } from "./lazy-dfa.ts";
import { refusalOf } from "./refusal.ts";
import { regexPiece } from "./regex.ts";
import { StepLane } from "./step-lane.ts";
import { limited, type Steps } from "./steps.ts";
import { TokenMasks } from "./token-masks.ts";
import { TokenTrie } from "./token-trie.ts";
import { TooComplexError, tooComplex } from "./too-complex.ts";

/** What has to be known of a vocabulary. */
export interface ConstrainedVocabulary {
  /** One more than the highest id that may be chosen. */
  readonly size: number;
  /** Tokens of their own are never text. */
  readonly isAdded: (id: number) => boolean;
  readonly tokenBytes: (id: number) => Uint8Array;
  readonly endIds: ReadonlySet<number>;
}

/** Makes the rule of a form. @throws ResponseFormatError, UnsupportedPatternError, TooComplexError */
export type MakeRule = (effort: Effort) => Steps<Rule>;

const KEPT_FORMS = 16;
/** Of what is kept for the automata of these forms. */
const KEPT_BYTES = 64 * 2 ** 20;
/** Bytes: an answer that cannot be shorter is none. */
const LONGEST_SHORTEST = 100_000;
/** Pauses while a form is made: five seconds or so. */
const MOST_STEPS = 20_000;

interface Form {
  readonly states: GrammarStates;
  readonly effort: Effort;
}

/** Makes constraints for the answers of one model. */
export class ResponseFormats {
  readonly #vocabulary: ConstrainedVocabulary;
  readonly #lane = new StepLane();
  readonly #forms = new LRUCache<string, Form>({
    max: KEPT_FORMS,
    maxSize: KEPT_BYTES,
    sizeCalculation: ({ effort }) => 1 + effort.bytes,
  });
  /** A form that could not be made cannot be made the next time. */
  readonly #refused = new LRUCache<string, ResponseFormatError>({ max: KEPT_FORMS });
  readonly #making = new SharedWork<Form>();
  readonly #reading = new SharedWork<TokenMasks>();
  #masks: TokenMasks | undefined;

  constructor(vocabulary: ConstrainedVocabulary) {
    this.#vocabulary = vocabulary;
  }

  /**
   * The first one reads the whole vocabulary, which takes a moment.
   *
   * @throws ResponseFormatError that names what cannot be kept; the signal's reason
   */
  async constraint(format: ResponseFormat, signal?: AbortSignal): Promise<Constraint> {
    return this.constraintOf(nameOf(format), (effort) => formatRule(format, effort), signal);
  }

  /**
   * The call of one of these tools, between its marks. What of a schema cannot be kept is not, unless its tool is strict.
   *
   * @throws as {@link constraint} does
   */
  async callConstraint(tools: readonly KnownTool[], signal?: AbortSignal): Promise<Constraint> {
    return this.constraintOf(`call ${nameOf(tools)}`, (effort) => callRule(tools, effort), signal);
  }

  /** For a grammar made elsewhere. @param name tells it from others */
  async constraintOf(name: string, make: MakeRule, signal?: AbortSignal): Promise<Constraint> {
    const refusal = this.#refused.get(name);
    if (refusal) throw refusal;
    const known = this.#forms.get(name);
    const usable = known && !known.states.full && !known.effort.worn;
    const work = (stop: AbortSignal) => this.#make(name, make, stop);
    const { states } = usable ? known : await this.#making.run(name, work, signal);
    const masks = this.#masks!;
    const { tokenBytes, endIds } = this.#vocabulary;
    const lane = this.#lane;
    const constraint = new Constraint({ states, masks, lane, bytesOf: tokenBytes, endIds, signal });
    // What is too much for one token is known before anything is computed.
    await constraint.prepare();
    void constraint.mask;
    return constraint;
  }

  async #make(name: string, make: MakeRule, signal: AbortSignal): Promise<Form> {
    try {
      const effort = new Effort();
      const making = limited(rulesAndStates(make, effort), MOST_STEPS, "making it takes too long");
      const { rule, states } = await this.#lane.run(making, { signal });
      this.#masks ??= await this.#reading.run("vocabulary", (stop) => this.#read(stop), signal);
      const masks = this.#masks;
      await this.#lane.run(
        (function* () {
          yield* masks.prepareFor(yield* automataOf(rule));
        })(),
        { signal },
      );
      const form = { states, effort };
      this.#forms.set(name, form);
      return form;
    } catch (error) {
      const refusal = refusalOf(error);
      if (refusal) this.#refused.set(name, refusal);
      throw refusal ?? error;
    }
  }

  /** The vocabulary as a tree, and what strings may hold. */
  #read(signal: AbortSignal): Promise<TokenMasks> {
    const { size, isAdded, tokenBytes } = this.#vocabulary;
    const bytesOf = (id: number) => (isAdded(id) ? undefined : tokenBytes(id));
    return this.#lane.run(readVocabulary(size, bytesOf), { signal });
  }
}

function* rulesAndStates(make: MakeRule, effort: Effort) {
  const rule = yield* make(effort);
  return { rule, states: yield* GrammarStates.of(rule, LONGEST_SHORTEST) };
}

function* readVocabulary(
  size: number,
  bytesOf: (id: number) => Uint8Array | undefined,
): Steps<TokenMasks> {
  const masks = new TokenMasks(yield* TokenTrie.build(size, bytesOf));
  yield* masks.prepare();
  return masks;
}

/** Everything that an expression describes. @throws UnsupportedPatternError, TooComplexError */
export function* regexRule(pattern: string, effort?: Effort): Steps<Rule> {
  const piece = yield* regexPiece(pattern, { spell: oneOf, match: "whole" });
  return match(yield* LazyDfa.of(piece, effort));
}

function* formatRule(format: ResponseFormat, effort: Effort): Steps<Rule> {
  switch (format.type) {
    case "json": {
      if (format.schema !== undefined) return yield* jsonSchemaRule(format.schema, effort);
      // A whole document, not a lone word.
      const { object, array } = yield* anyJson();
      return anyOf(object, array);
    }
    case "regex":
      return yield* regexRule(format.pattern, effort);
    case "choice":
      return yield* oneText(format.options);
  }
}

/** Equal ones have one name. @throws ResponseFormatError where it is nested too deeply to be read */
function nameOf(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw tooComplex(new TooComplexError("it is nested too deeply"));
  }
}
