// generation_config.json: how the checkpoint's authors sample, and where it stops. Out: defaults for every
// request. What the file leaves out comes from the vendor's recommendation for the kind of checkpoint.

import { JsonFields } from "./json-fields.ts";

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
}

const INSTRUCT = { temperature: 0.7, topP: 0.8, topK: 20, repetitionPenalty: 1 } as const;
const THINKING = { temperature: 1, topP: 0.95, topK: 20, repetitionPenalty: 1 } as const;

const IM_END = 151_645;
const END_OF_TEXT = 151_643;

/**
 * Reads a parsed generation_config.json.
 *
 * @param json the parsed file, `undefined` when there is none
 * @throws ModelLoadError `model-corrupt` for wrong values
 */
export function parseGenerationConfig(
  json: unknown,
  where: string,
  fallback: GenerationFallback,
): GenerationDefaults {
  const fields = new JsonFields(json ?? {}, where);
  const usual = fallback.thinking ? THINKING : INSTRUCT;
  return {
    doSample: fields.boolean("do_sample", true),
    temperature: fields.number("temperature", { min: 0 }, usual.temperature),
    topP: fields.number("top_p", { above: 0, max: 1 }, usual.topP),
    topK: fields.integer("top_k", 0, usual.topK),
    minP: fields.number("min_p", { min: 0, max: 1 }, 0),
    repetitionPenalty: fields.number("repetition_penalty", { above: 0 }, usual.repetitionPenalty),
    eosTokenIds: fields.has("eos_token_id")
      ? fields.oneOrMore("eos_token_id", { integer: true, min: 0 })
      : stopTokens(fallback.eosTokenIds),
  };
}

/** config.json names one stop token at most; every published checkpoint also stops at `<|endoftext|>`. */
function stopTokens(fromConfig: readonly number[]): readonly number[] {
  const isPublishedVocabulary = fromConfig.length === 0 || fromConfig.includes(IM_END);
  return isPublishedVocabulary
    ? [...new Set([IM_END, END_OF_TEXT, ...fromConfig])]
    : [...fromConfig];
}
