// The files of a model for a hub: the tiny chat model as it is published, and made-up ones. Out: names and bytes.

import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { TINY_CHAT_DIR } from "./tiny-chat.ts";

/** The tiny chat model, with what real repositories have besides. */
export function tinyChatFiles(): Record<string, Buffer> {
  const names = readdirSync(TINY_CHAT_DIR).filter((name) =>
    statSync(join(TINY_CHAT_DIR, name)).isFile(),
  );
  return {
    ".gitattributes": Buffer.from("*.safetensors filter=lfs\n"),
    "pytorch_model.bin": randomBytes(50_000),
    "onnx/model.onnx": randomBytes(30_000),
    ...Object.fromEntries(names.map((name) => [name, readFileSync(join(TINY_CHAT_DIR, name))])),
  };
}

/** Enough of a model to be pulled, not to be converted. @param weightBytes of `model.safetensors` */
export function madeUpFiles(weightBytes: number): Record<string, Buffer> {
  return {
    "README.md": Buffer.from("# A model\n"),
    "config.json": Buffer.from('{ "model_type": "qwen3_vl" }\n'),
    "tokenizer.json": Buffer.from('{ "version": "1.0" }\n'),
    "tokenizer_config.json": Buffer.from("{}\n"),
    "preprocessor_config.json": Buffer.from("{}\n"),
    "model.safetensors": randomBytes(weightBytes),
  };
}
