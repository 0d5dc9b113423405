// node-llama-cpp, token by token through its sequence API, flash attention on. It has no pictures.

import { getLlama } from "node-llama-cpp";

/** @param {{ model: string, threads: number, contextTokens: number }} options */
export async function open({ model: modelPath, threads, contextTokens }) {
  const llama = await getLlama({
    gpu: false,
    build: "never",
    logLevel: "error",
    maxThreads: threads,
  });
  const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
  const context = await model.createContext({
    contextSize: contextTokens,
    batchSize: 512,
    threads,
    flashAttention: true,
  });
  const sequence = context.getSequence();
  /** Reads what the sequence does not know yet. */
  const read = async (prompt) => {
    const { nextTokenIndex } = sequence;
    let known = 0;
    while (known < nextTokenIndex && sequence.contextTokens[known] === prompt[known]) known++;
    await sequence.eraseContextTokenRanges([{ start: known, end: nextTokenIndex }]);
    await sequence.evaluateWithoutGeneratingNewTokens(prompt.slice(known));
  };
  return {
    async prefill(chat, tokens) {
      await sequence.clearHistory();
      const prompt = model.tokenize(chat.words(tokens));
      const start = performance.now();
      await sequence.evaluateWithoutGeneratingNewTokens(prompt);
      return prompt.length / ((performance.now() - start) / 1000);
    },
    async decode(text, count) {
      const prompt = model.tokenize(text);
      await read(prompt.slice(0, -1));
      const options = { temperature: 0.7, topK: 20, topP: 0.8, yieldEogToken: true };
      const times = [];
      for await (const _ of sequence.evaluate(prompt.slice(-1), options)) {
        if (times.push(performance.now()) === count) break;
      }
      return (times.length - 1) / ((times.at(-1) - times[0]) / 1000);
    },
    async close() {
      await context.dispose();
      await model.dispose();
      await llama.dispose();
    },
  };
}
