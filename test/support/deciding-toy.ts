// The tiny chat model with a head that leaves something to decide: a few tokens are likely everywhere, none is certain.
// In: a directory. Out: a checkpoint in it.

import { loadTokenizer } from "../../src/vlm/text/tokenizer.ts";
import { TINY_CHAT } from "./golden-checkpoint.ts";
import { makeLikely, tinyChatWithHead } from "./own-head.ts";

/** Some begin others of the options that are made of them. */
const LIKELY = ["是", "有", "没有", "1", "2", "3", "7", "0", ",", "]", " "];
/** What the model mostly wants to say. */
const WANTED = ["图里有一个红色的圆形", "。", "你好", "我只会看图"];

export async function decidingToy(dir: string): Promise<string> {
  const tokenizer = await loadTokenizer(TINY_CHAT);
  const end = tokenizer.specialId("<|im_end|>");
  const idsOf = (texts: readonly string[]) => [
    ...new Set([...texts.flatMap((text) => tokenizer.encodeText(text)), end]),
  ];
  return tinyChatWithHead(dir, (rows) => makeLikely(rows, idsOf(LIKELY), idsOf(WANTED)));
}

/** What can be decided without a picture. */
export const DECISIONS = [
  { type: "yes-no", question: "好吗？", yes: "是", no: "没有" },
  { type: "choice", question: "多少？", options: ["是", "有", "1", "12", "123", "没有"] },
  { type: "number", question: "有几个？", min: 0, max: 13 },
] as const;
