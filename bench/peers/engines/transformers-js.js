// transformers.js on onnxruntime-node, its class for Qwen3-VL. It computes every prompt whole.

import { basename, dirname } from "node:path";
import {
  AutoTokenizer,
  BaseStreamer,
  env,
  Qwen3VLForConditionalGeneration,
  Qwen3VLProcessor,
  RawImage,
} from "@huggingface/transformers";
import { DTYPES } from "../transformers-js/export.js";

/** @param {{ model: string, threads: number }} options */
export async function open({ model: directory, threads }) {
  env.allowRemoteModels = false;
  env.localModelPath = dirname(directory);
  const name = basename(directory);
  const model = await Qwen3VLForConditionalGeneration.from_pretrained(name, {
    dtype: DTYPES,
    device: "cpu",
    session_options: { intraOpNumThreads: threads },
  });
  const tokenizer = await AutoTokenizer.from_pretrained(name);
  const processor = await Qwen3VLProcessor.from_pretrained(name);
  let visionMs = 0;
  const encodeImage = model.encode_image.bind(model);
  model.encode_image = async (inputs) => {
    const start = performance.now();
    const features = await encodeImage(inputs);
    visionMs = performance.now() - start;
    return features;
  };
  const generate = async (inputs, count) => {
    const clock = new Clock();
    const length = { max_new_tokens: count, min_new_tokens: count };
    const sampling = { do_sample: true, temperature: 0.7, top_k: 20 };
    const start = performance.now();
    await model.generate({ ...inputs, ...length, ...sampling, streamer: clock });
    return { firstMs: clock.times[0] - start, times: clock.times };
  };
  return {
    async prefill(chat, tokens) {
      const inputs = await tokenizer(chat.words(tokens));
      const { firstMs } = await generate(inputs, 1);
      return inputs.input_ids.dims[1] / (firstMs / 1000);
    },
    async decode(text, count) {
      const { times } = await generate(await tokenizer(text), count);
      return (times.length - 1) / ((times.at(-1) - times[0]) / 1000);
    },
    async picture({ width, height, bytes }, question) {
      const start = performance.now();
      const pixels = new Uint8ClampedArray(bytes.subarray(54));
      const image = new RawImage(pixels, width, height, 3);
      const inputs = await processor(PICTURE + question + ANSWER, [image]);
      const preparedMs = performance.now() - start;
      const { firstMs } = await generate(inputs, 1);
      return { visionMs, firstMs: preparedMs + firstMs };
    },
    close: () => model.dispose(),
  };
}

/** When each token came; the first call brings the prompt. */
class Clock extends BaseStreamer {
  times = [];
  #prompt = true;

  put() {
    if (!this.#prompt) this.times.push(performance.now());
    this.#prompt = false;
  }

  end() {}
}

const PICTURE = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>";
const ANSWER = "<|im_end|>\n<|im_start|>assistant\n";
