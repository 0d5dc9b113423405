// A random checkpoint in the layout of transformers.js: three graphs with their weights in `onnx/`, and the settings.
// In: a checkpoint. Out: a directory. (The exporter of that layout is a Python program; these graphs are napcat-vlm's
// own, with the same operators for 4 bits and attention that published exports have.)

import { access, cp, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openCheckpoint } from "../../../dist/vlm/checkpoint/open-checkpoint.js";
import { HashedFile } from "../../../dist/vlm/convert/hashed-file.js";
import { RowReader } from "../../../dist/vlm/convert/row-reader.js";
import { WeightWriter } from "../../../dist/vlm/convert/weight-writer.js";
import { preferredInt8Weights } from "../../../dist/vlm/engine/cpu-settings.js";
import { embedTokens, textDecoder, visionEncoder } from "./graphs.js";

/** Of each part, as `from_pretrained` wants it. */
export const DTYPES = { embed_tokens: "fp16", decoder_model_merged: "q4", vision_encoder: "fp32" };
const SUFFIXES = { fp16: "_fp16", q4: "_q4", fp32: "" };

/**
 * @param {string} checkpointDir
 * @param {string} outputDir made unless it is there
 */
export async function exportForTransformersJs(checkpointDir, outputDir) {
  if (await exists(outputDir)) return;
  const staging = `${outputDir}.new`;
  await rm(staging, { recursive: true, force: true });
  await mkdir(join(staging, "onnx"), { recursive: true });
  const checkpoint = await openCheckpoint(checkpointDir);
  try {
    const { config } = checkpoint;
    const int8Weights = await preferredInt8Weights(); // of the head, which is not in 4 bits
    const graphs = {
      embed_tokens: embedTokens(config),
      decoder_model_merged: textDecoder(config, DTYPES.decoder_model_merged, int8Weights),
      vision_encoder: visionEncoder(config, DTYPES.vision_encoder),
    };
    const reader = new RowReader(checkpoint);
    for (const [part, graph] of Object.entries(graphs)) {
      const name = `${part}${SUFFIXES[DTYPES[part]]}.onnx`;
      await writeGraph(join(staging, "onnx"), name, graph, reader);
    }
  } finally {
    await checkpoint.close();
  }
  for (const file of ["tokenizer.json", "generation_config.json", "preprocessor_config.json"]) {
    await cp(join(checkpointDir, file), join(staging, file));
  }
  const config = JSON.parse(await readFile(join(checkpointDir, "config.json"), "utf8"));
  config["transformers.js_config"] = { use_external_data_format: true };
  await writeFile(join(staging, "config.json"), JSON.stringify(config));
  const tokenizer = { tokenizer_class: "Qwen2Tokenizer", eos_token: "<|im_end|>" };
  await writeFile(join(staging, "tokenizer_config.json"), JSON.stringify(tokenizer));
  await rename(staging, outputDir);
}

async function writeGraph(dir, name, { model, plan }, reader) {
  const dataFile = `${name}_data`;
  const data = await HashedFile.create(join(dir, dataFile));
  try {
    await new WeightWriter(reader, data).write(plan);
    await data.finish();
  } finally {
    await data.close();
  }
  await writeFile(join(dir, name), model.serialize(dataFile, "benchmark"));
}

async function exists(path) {
  return access(path).then(
    () => true,
    () => false,
  );
}
