// napcat-vlm through its public API. What of the prompt is the chat format's is counted.

import { loadQwen3Vl } from "../../../dist/vlm/index.js";
import { words } from "../words.js";

/** @param {{ model: string, threads: number, contextTokens: number }} options */
export async function open({ model, threads, contextTokens }) {
  const vlm = await loadQwen3Vl({
    model,
    threads,
    maxContextTokens: contextTokens,
    // Every prompt is new, and every token is computed.
    prefixCacheBytes: 0,
    speculation: false,
    onWarning: () => {},
  });
  const ask = async (tokens, maxTokens) => {
    const times = [];
    let finish;
    const messages = [{ role: "user", content: words(tokens - CHAT_TOKENS) }];
    for await (const part of vlm.stream({ messages, maxTokens, seed: 1 })) {
      if (part.type === "finish") finish = part;
      else times.push(performance.now());
    }
    return { times, finish };
  };
  return {
    async prefill(tokens) {
      const { finish } = await ask(tokens, 1);
      return finish.usage.promptTokens / (finish.timings.prefillMs / 1000);
    },
    async decode(tokens, count) {
      const { times } = await ask(tokens, count);
      return (times.length - 1) / ((times.at(-1) - times[0]) / 1000);
    },
    close: () => vlm.dispose(),
  };
}

const CHAT_TOKENS = 10;
