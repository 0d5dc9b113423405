// @fugood/llama.node: its own figures of one completion. It knows the beginning of a prompt from the one before.

import { loadModel } from "@fugood/llama.node";

/** @param {{ model: string, mmproj: string, threads: number, contextTokens: number }} options */
export async function open({ model, mmproj, threads, contextTokens }) {
  const context = await loadModel({
    model,
    n_ctx: contextTokens,
    n_batch: 512,
    n_ubatch: 512,
    n_threads: threads,
    n_gpu_layers: 0,
    flash_attn_type: "on",
  });
  if (!context.initMultimodal({ path: mmproj, use_gpu: false })) {
    throw new Error(`${mmproj} was not taken.`);
  }
  const complete = async (request) => {
    const start = performance.now();
    let firstMs;
    const sampling = { temperature: 0.7, top_k: 20, top_p: 0.8, ignore_eos: true };
    const { timings } = await context.completion({ ...sampling, ...request }, () => {
      firstMs ??= performance.now() - start;
    });
    return { timings, firstMs };
  };
  return {
    async prefill(chat, tokens) {
      const { timings } = await complete({ prompt: chat.words(tokens), n_predict: 1 });
      return timings.prompt_per_second;
    },
    async decode(prompt, n_predict) {
      return (await complete({ prompt, n_predict })).timings.predicted_per_second;
    },
    async picture({ bytes }, question) {
      const { firstMs } = await complete({
        prompt: PICTURE + question + ANSWER,
        media_paths: [`data:image/bmp;base64,${Buffer.from(bytes).toString("base64")}`],
        n_predict: 2, // of a single token it does not tell
      });
      // Only its log tells how long the picture took (run.js): its time of a prompt may go on through it.
      return { firstMs };
    },
    close: () => context.release(),
  };
}

const PICTURE = "<|im_start|>user\n<|vision_start|><__media__><|vision_end|>";
const ANSWER = "<|im_end|>\n<|im_start|>assistant\n";
