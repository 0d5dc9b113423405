// generation_config.json: how the checkpoint's authors sample, and where it stops. Out: defaults for every
// request. What the file leaves out, or says in a way that cannot be, comes from the vendor's recommendation for the
// kind of checkpoint: a sampling default never makes a model unusable.

import { JsonFields, type NumberRange } from "./json-fields.ts";
import type { Assume } from "./stored-facts.ts";

/** Sampling defaults of a checkpoint. */
export interface GenerationDefaults {
  /** False: always the likeliest token. */
  readonly doSample: boolean;
  readonly temperature: number;
  readonly topP: number;
  /** 0: no limit. */
  readonly topK: number;
  /** 0: off. */
  readonly minP: number;
  readonly repetitionPenalty: number;
  /** Any of these ends an answer. */
  readonly eosTokenIds: readonly number[];
}

export interface GenerationFallback {
  /** Does the checkpoint think before it answers? Its recommended sampling differs. @default false */
  readonly thinking?: boolean;
  /** Stop tokens of config.json, used when generation_config.json names none. */
  readonly eosTokenIds: readonly number[];
  /** Told of every value that was of no use, and what is used instead. */
  readonly assume?: Assume;
}

const INSTRUCT = { temperature: 0.7, topP: 0.8, topK: 20, repetitionPenalty: 1 } as const;
const THINKING = { temperature: 1, topP: 0.95, topK: 20, repetitionPenalty: 1 } as const;

const IM_END = 151_645;
const END_OF_TEXT = 151_643;

/** As a request may say it; see `resolveRequest`. */
const TEMPERATURE: NumberRange = { min: 0, max: 100 };

/**
 * Reads a parsed generation_config.json.
 *
 * @param json the parsed file, `undefined` when there is none
 */
export function parseGenerationConfig(
  json: unknown,
  where: string,
  { thinking = false, eosTokenIds, assume = () => {} }: GenerationFallback,
): GenerationDefaults {
  const fields = settings(json, where, assume);
  const usual = thinking ? THINKING : INSTRUCT;
  const number = (name: string, range: NumberRange, fallback: number) =>
    fields.numberOr(name, range, fallback, assume);
  // `top_p` 0 leaves the likeliest token only; a request that names a temperature wants the usual share.
  const likeliestOnly = fields.text("top_p") === "0";
  // vLLM writes -1 for "no limit".
  const noLimit = fields.text("top_k") === "-1";
  const stops = fields.tokenIds("eos_token_id", Number.MAX_SAFE_INTEGER, assume);
  return {
    doSample: doesSample(fields, assume) && !likeliestOnly,
    temperature: number("temperature", TEMPERATURE, usual.temperature),
    topP: likeliestOnly ? usual.topP : number("top_p", { above: 0, max: 1 }, usual.topP),
    topK: noLimit ? 0 : number("top_k", { integer: true, min: 0 }, usual.topK),
    minP: number("min_p", { min: 0, max: 1 }, 0),
    repetitionPenalty: number("repetition_penalty", { above: 0 }, usual.repetitionPenalty),
    eosTokenIds: stops.length > 0 ? stops : stopTokens(eosTokenIds),
  };
}

function settings(json: unknown, where: string, assume: Assume): JsonFields {
  if (json === undefined) return new JsonFields({}, where);
  if (typeof json === "object" && json !== null && !Array.isArray(json)) {
    return new JsonFields(json, where);
  }
  assume(`${where} is not a JSON object: the usual settings are used instead.`);
  return new JsonFields({}, where);
}

function doesSample(fields: JsonFields, assume: Assume): boolean {
  const said = fields.text("do_sample");
  if (said === "false" || said === "0") return false;
  if (!["true", "1", "nothing"].includes(said)) {
    assume(`${fields.wrong("do_sample", "true or false").message} true is used instead.`);
  }
  return true;
}

/** config.json names one stop token at most; every published checkpoint also stops at `<|endoftext|>`. */
function stopTokens(fromConfig: readonly number[]): readonly number[] {
  const isPublishedVocabulary = fromConfig.length === 0 || fromConfig.includes(IM_END);
  return isPublishedVocabulary
    ? [...new Set([IM_END, END_OF_TEXT, ...fromConfig])]
    : [...fromConfig];
}
