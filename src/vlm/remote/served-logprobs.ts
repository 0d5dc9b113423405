// Probabilities of tokens as servers write them. In: the field `logprobs` of a choice. Out: tokens of the seam, or nothing
// for what has another form. It knows nothing of answers.

import { z } from "zod";
import type { TokenScore } from "../vision-language-model.ts";

/** What ends an answer, in the chat formats of common models; some servers show it as no text at all. */
const END =
  /^(?:<[|｜](?:im_end|im_start|endoftext|end_of_text|eot_id|eot|end|end▁of▁sentence)[|｜]>|<\/s>|<eos>|<end_of_turn>|)$/u;

const TOKEN = z.looseObject({
  token: z.string(),
  /** Some write -Infinity as null. */
  logprob: z.number().nullable(),
  /** Of what is no text, and by servers that know no bytes: left out, null or empty. */
  bytes: z.array(z.int().min(0).max(255)).nullish().catch(undefined),
});

const CHOSEN = TOKEN.extend({ top_logprobs: z.array(TOKEN).nullish().catch(undefined) });

/** Undefined for what is missing or of another form. */
export const LOGPROBS = z
  .looseObject({ content: z.array(CHOSEN).nullable() })
  .nullish()
  .catch(undefined)
  .transform((logprobs) =>
    logprobs?.content?.map(({ top_logprobs, ...token }) => ({
      ...scoreOf(token),
      likeliest: (top_logprobs ?? []).map(scoreOf),
    })),
  );

function scoreOf({ token, logprob, bytes }: z.output<typeof TOKEN>): TokenScore {
  const end = END.test(token);
  return {
    text: token,
    bytes: end ? new Uint8Array() : bytes ? Uint8Array.from(bytes) : Buffer.from(token),
    logprob: Math.min(0, logprob ?? Number.NEGATIVE_INFINITY),
    end,
  };
}
