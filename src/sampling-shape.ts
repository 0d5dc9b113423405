// The ranges of the settings that decide how a token is chosen, as keys of a schema: the same in a request and among the
// options of a bot, so that what the model would refuse at every question is refused when the bot is made.

import { integer, number, numberAbove } from "./parse-options.ts";

export const SAMPLING_SHAPE = {
  temperature: number(0, 100).optional(),
  topP: numberAbove(0, 1).optional(),
  topK: integer(0).optional(),
  minP: number(0, 1).optional(),
  repetitionPenalty: numberAbove(0).optional(),
  presencePenalty: number(-100, 100).optional(),
  frequencyPenalty: number(-100, 100).optional(),
  seed: integer(0).optional(),
};
