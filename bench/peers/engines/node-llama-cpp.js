// node-llama-cpp, token by token through its sequence API, flash attention on.

import { getLlama } from "node-llama-cpp";
import { words } from "../words.js";

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
  const read = async (tokens) => {
    await sequence.clearHistory();
    const prompt = model.tokenize(words(tokens));
    const start = performance.now();
    await sequence.evaluateWithoutGeneratingNewTokens(prompt);
    return prompt.length / ((performance.now() - start) / 1000);
  };
  return {
    prefill: read,
    async decode(tokens, count) {
      await read(tokens);
      const options = { temperature: 0.7, topK: 20, topP: 0.8, yieldEogToken: true };
      const times = [];
      for await (const _ of sequence.evaluate(model.tokenize(words(1)), options)) {
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
