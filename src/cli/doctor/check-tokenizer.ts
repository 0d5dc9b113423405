// Does @huggingface/transformers load, which brings native libraries of its own? Runs in a process of its own.

import { loadTransformers } from "../../vlm/text/tokenizer.ts";
import { adviceFor } from "./advice.ts";
import type { Finding } from "./finding.ts";

export async function checkTokenizer(): Promise<Finding> {
  const what = { zh: "分词器", en: "Tokenizer" };
  try {
    const { env } = await loadTransformers();
    return { verdict: "ok", what, found: `@huggingface/transformers ${env.version}` };
  } catch (error) {
    const found = {
      zh: "@huggingface/transformers 无法加载",
      en: "@huggingface/transformers cannot be loaded",
    };
    return { verdict: "fail", what, found, advice: adviceFor(error) };
  }
}
