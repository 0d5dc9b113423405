// From the form that a request wants its answer in to the constraint of one answer. What is made for a form is kept for
// the next answer of the same form; what is made of the vocabulary, for all of them. It knows no logits.

import { LRUCache } from "lru-cache";
import { ResponseFormatError } from "../errors.ts";
import { TimeSlice } from "../image/time-slice.ts";
import type { KnownTool } from "../text/tool-call-text.ts";
import type { ResponseFormat } from "../vision-language-model.ts";
import { anyArray, anyObject } from "./any-json.ts";
import type { Automaton } from "./automaton.ts";
import { oneOf } from "./byte-nfa.ts";
import { callRule } from "./call-form.ts";
import { Constraint } from "./constraint.ts";
import { Effort } from "./effort.ts";
import { anyOf, automataOf, Lengths, match, type Rule } from "./grammar.ts";
import { GrammarStates } from "./grammar-states.ts";
import { jsonSchemaRule } from "./json-schema.ts";
import { oneText } from "./json-terminals.ts";
import { LazyDfa } from "./lazy-dfa.ts";
import { regexPiece, UnsupportedPatternError } from "./regex.ts";
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

const KEPT_FORMS = 16;
/** An answer that cannot be shorter is none. */
const LONGEST_SHORTEST = 100_000;

interface Form {
  readonly states: GrammarStates;
  readonly automata: ReadonlySet<Automaton>;
  readonly effort: Effort;
}

/** Makes constraints for the answers of one model. */
export class ResponseFormats {
  readonly #vocabulary: ConstrainedVocabulary;
  readonly #forms = new LRUCache<string, Form>({ max: KEPT_FORMS });
  #masks: Promise<TokenMasks> | undefined;

  constructor(vocabulary: ConstrainedVocabulary) {
    this.#vocabulary = vocabulary;
  }

  /**
   * The first one reads the whole vocabulary, which takes a moment, in slices.
   *
   * @throws ResponseFormatError that names what cannot be kept
   */
  async constraint(format: ResponseFormat): Promise<Constraint> {
    return this.constraintOf(nameOf(format), (effort) => formatRule(format, effort));
  }

  /** The call of one of these tools, between its marks. What of a schema cannot be kept is not. */
  async callConstraint(tools: readonly KnownTool[]): Promise<Constraint> {
    return this.constraintOf(`call ${nameOf(tools)}`, (effort) => callRule(tools, effort));
  }

  /** For a grammar made elsewhere. @param name tells it from others */
  async constraintOf(name: string, make: (effort: Effort) => Rule): Promise<Constraint> {
    const { states, automata } = this.#formOf(name, make);
    this.#masks ??= this.#readVocabulary();
    const masks = await this.#masks;
    await masks.prepareFor(automata, new TimeSlice());
    const { tokenBytes, endIds } = this.#vocabulary;
    const constraint = new Constraint({ states, masks, bytesOf: tokenBytes, endIds });
    // What is too much for one token is known before anything is computed.
    void constraint.mask;
    return constraint;
  }

  #formOf(name: string, make: (effort: Effort) => Rule): Form {
    const known = this.#forms.get(name);
    if (known && !known.states.full && !known.effort.worn) return known;
    try {
      const effort = new Effort();
      const rule = make(effort);
      const shortest = new Lengths(rule).of(rule);
      if (shortest > LONGEST_SHORTEST) {
        throw new TooComplexError(
          shortest === Number.POSITIVE_INFINITY
            ? "no text satisfies it"
            : `even its shortest answer has ${shortest} bytes`,
        );
      }
      const form = { states: new GrammarStates(rule), automata: automataOf(rule), effort };
      this.#forms.set(name, form);
      return form;
    } catch (error) {
      if (error instanceof TooComplexError) throw tooComplex(error);
      if (!(error instanceof UnsupportedPatternError)) throw error;
      throw new ResponseFormatError(
        "response-format-unsupported",
        `The pattern cannot be kept: ${error.message}.`,
        { keyword: error.construct },
      );
    }
  }

  async #readVocabulary(): Promise<TokenMasks> {
    const { size, isAdded, tokenBytes } = this.#vocabulary;
    const bytesOf = (id: number) => (isAdded(id) ? undefined : tokenBytes(id));
    const slice = new TimeSlice();
    const masks = new TokenMasks(await TokenTrie.build(size, bytesOf, slice));
    await masks.prepare(slice);
    return masks;
  }
}

/** Everything that an expression describes. @throws UnsupportedPatternError, TooComplexError */
export function regexRule(pattern: string, effort?: Effort): Rule {
  return match(new LazyDfa(regexPiece(pattern, { spell: oneOf, match: "whole" }), effort));
}

function formatRule(format: ResponseFormat, effort: Effort): Rule {
  switch (format.type) {
    case "json":
      // A whole document, not a lone word.
      return format.schema === undefined
        ? anyOf(anyObject(), anyArray())
        : jsonSchemaRule(format.schema, effort);
    case "regex":
      return regexRule(format.pattern, effort);
    case "choice":
      return oneText(format.options);
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
