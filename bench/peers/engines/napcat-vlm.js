// napcat-vlm through its public API. What of the prompt is the chat format's is counted.

import { loadQwen3Vl } from "../../../dist/vlm/index.js";

/** @param {{ model: string, threads: number, contextTokens: number }} options */
export async function open({ model, threads, contextTokens }) {
  const vlm = await loadQwen3Vl({
    model,
    threads,
    maxContextTokens: contextTokens,
    maxImageTokens: 1024,
    // Every prompt is computed whole, and every token.
    prefixCacheBytes: 0,
    speculation: false,
    onWarning: () => {},
  });
  const ask = async (content, maxTokens) => {
    const start = performance.now();
    const times = [];
    let finish;
    const messages = [{ role: "user", content }];
    for await (const part of vlm.stream({ messages, maxTokens, seed: 1 })) {
      if (part.type === "finish") finish = part;
      else times.push(performance.now());
    }
    return { firstMs: times[0] - start, times, finish };
  };
  return {
    async prefill(chat, tokens) {
      const { finish } = await ask(chat.words(tokens - CHAT_TOKENS), 1);
      return finish.usage.promptTokens / (finish.timings.prefillMs / 1000);
    },
    async decode(text, count) {
      const { times } = await ask(text, count);
      return (times.length - 1) / ((times.at(-1) - times[0]) / 1000);
    },
    async picture({ bytes }, question) {
      const content = [
        { type: "image", data: bytes },
        { type: "text", text: question },
      ];
      const { firstMs, finish } = await ask(content, 1);
      return { visionMs: finish.timings.visionMs, firstMs };
    },
    close: () => vlm.dispose(),
  };
}

const CHAT_TOKENS = 10;
