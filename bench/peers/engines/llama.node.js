// @fugood/llama.node: its own figures of one completion.

import { loadModel } from "@fugood/llama.node";
import { words } from "../words.js";

/** @param {{ model: string, threads: number, contextTokens: number }} options */
export async function open({ model, threads, contextTokens }) {
  const context = await loadModel({
    model,
    n_ctx: contextTokens,
    n_batch: 512,
    n_ubatch: 512,
    n_threads: threads,
    n_gpu_layers: 0,
    flash_attn_type: "on",
  });
  const complete = async (tokens, count) => {
    const options = {
      prompt: words(tokens),
      n_predict: count,
      temperature: 0.7,
      top_k: 20,
      top_p: 0.8,
    };
    const { timings } = await context.completion({ ...options, ignore_eos: true }, () => {});
    return timings;
  };
  return {
    prefill: async (tokens) => (await complete(tokens, 1)).prompt_per_second,
    decode: async (tokens, count) => (await complete(tokens, count)).predicted_per_second,
    close: () => context.release(),
  };
}
