// Fires when the text begins or ends with one of the bot's nicknames: "小猫，这是什么" and "这是什么呀小猫？".
// In the middle of a sentence people talk about it, not to it.

import { type Trigger, typedText } from "./trigger.ts";

const AROUND = /^[\s\p{P}\p{S}]+|[\s\p{P}\p{S}]+$/gu;

export const nickname: Trigger = {
  fires: (message, { triggers: { nicknames } }) => {
    if (nicknames.length === 0) return false;
    const text = plain(typedText(message));
    return nicknames
      .map(plain)
      .some((name) => name !== "" && (text.startsWith(name) || text.endsWith(name)));
  },
};

function plain(text: string): string {
  return text.normalize("NFKC").toLowerCase().replace(AROUND, "");
}
