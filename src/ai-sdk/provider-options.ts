// Settings that the AI SDK has no name for, from `providerOptions.napcatVlm`. In: a call of the SDK. Out: fields of a request,
// with a warning for every other key. Whether a value can be taken is the model's to say.

import type { LanguageModelV3CallOptions, SharedV3ProviderMetadata } from "@ai-sdk/provider";
import type { FinishPart, GenerateRequest } from "../vlm/index.ts";
import type { Warn } from "./prompt.ts";

/** The key of this provider among those of others. */
const KEY = "napcatVlm";

const SETTINGS = [
  "minP",
  "repetitionPenalty",
  "maxReasoningTokens",
  "topLogprobs",
  "parallelToolCalls",
  "chat",
  "priority",
] as const satisfies readonly (keyof GenerateRequest)[];

type Settings = Pick<GenerateRequest, (typeof SETTINGS)[number]>;

export function ownSettings({ providerOptions }: LanguageModelV3CallOptions, warn: Warn): Settings {
  const given = Object.entries(providerOptions?.[KEY] ?? {});
  for (const [name] of given) {
    if (SETTINGS.some((known) => known === name)) continue;
    warn({ type: "unsupported", feature: `providerOptions.${KEY}.${name}` });
  }
  // Checked with the rest of the request, which names what is wrong.
  return Object.fromEntries(
    given.filter(([name]) => SETTINGS.some((known) => known === name)),
  ) as Settings;
}

type Finish = Omit<FinishPart, "type" | "repeatedCharacters">;

/** What the SDK has no name for at the end of an answer. */
export function ownMetadata(finish: Finish): SharedV3ProviderMetadata {
  const { usage, timings, cache, incomplete = false, reasoningCut = false, logprobs } = finish;
  return {
    [KEY]: {
      imageTokens: usage.imageTokens,
      droppedTurns: usage.droppedTurns,
      incomplete,
      reasoningCut,
      timings: { ...timings },
      cache: { ...cache },
      ...(logprobs ? { logprobs: logprobs.map(tokenOf) } : {}),
    },
  };
}

/** As JSON holds it. */
function tokenOf({ likeliest, ...token }: NonNullable<Finish["logprobs"]>[number]) {
  const plain = ({ text, bytes, logprob, end }: typeof token) => ({
    text,
    bytes: [...bytes],
    logprob,
    end,
  });
  return { ...plain(token), likeliest: likeliest.map(plain) };
}
