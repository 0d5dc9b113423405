// Which directories are packages of other programs, which of their graphs are taken, and what cannot be had of them.

import { cp, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { ensurePackage } from "../../../src/vlm/convert/ensure-package.ts";
import type { Precision } from "../../../src/vlm/convert/linear-layers.ts";
import type { VisionPrecision } from "../../../src/vlm/convert/vision-graph.ts";
import { ModelLoadError } from "../../../src/vlm/errors.ts";
import { findForeignFiles } from "../../../src/vlm/foreign/foreign-files.ts";
import { openForeignPackage } from "../../../src/vlm/foreign/foreign-package.ts";
import { checkPackageMemory } from "../../../src/vlm/machine/load-choices.ts";
import { estimateMemory } from "../../../src/vlm/machine/memory-estimate.ts";
import { resolveLoadOptions } from "../../../src/vlm/options.ts";
import { loadQwen3Vl } from "../../../src/vlm/qwen3-vl.ts";
import { communityPackage } from "../../support/community-package.ts";
import { mobiusPackage } from "../../support/mobius-package.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { TINY_CHAT_DIR, tinyChatPackage } from "../../support/tiny-chat.ts";

let mobius: string;
/** One whose settings fit as well: it can be loaded. */
let chat: string;
let community: string;

beforeAll(async () => {
  const parent = await tempDir();
  mobius = await mobiusPackage("tiny-tied", parent);
  chat = await mobiusPackage("tiny-chat", parent);
  community = await communityPackage(TINY_CHAT_DIR, parent);
});

/** A copy that may be changed. */
async function copyOf(directory: string): Promise<string> {
  const copy = join(await tempDir(), "copy");
  await cp(directory, copy, { recursive: true });
  return copy;
}

interface Choices {
  readonly device?: string;
  readonly precision?: Precision;
  readonly visionPrecision?: VisionPrecision;
}

async function open(directory: string, choices: Choices = {}) {
  const files = await findForeignFiles(directory);
  return openForeignPackage(files!, {
    device: "cpu",
    precision: undefined,
    visionPrecision: undefined,
    ...choices,
  });
}

async function refusal(work: Promise<unknown>): Promise<ModelLoadError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(ModelLoadError);
  return error as ModelLoadError;
}

describe("a directory", () => {
  it("is of the mobius layout, with the names of today and those of earlier exports", async () => {
    const found = await open(mobius);
    expect(found).toMatchObject({
      layout: "mobius",
      name: "mobius-tiny-tied",
      graphs: {
        decoder: { file: "decoder/model.onnx" },
        vision: { file: "vision_encoder/model.onnx" },
        embedding: { file: "embedding/model.onnx" },
      },
      precision: { decoder: "fp32", vision: "fp32" },
    });
    // Graphs and data, and nothing else.
    expect(found.graphs.embedding.bytes).toBeGreaterThan(256 * 64 * 4);
    const older = await copyOf(mobius);
    await rename(join(older, "decoder"), join(older, "model"));
    await rename(join(older, "vision_encoder"), join(older, "vision"));
    expect((await open(older)).graphs).toMatchObject({
      decoder: { file: "model/model.onnx" },
      vision: { file: "vision/model.onnx" },
    });
  });

  it("is of the onnx-community layout, with its graphs in a folder or not", async () => {
    expect(await open(community)).toMatchObject({
      layout: "onnx-community",
      graphs: {
        decoder: { file: "onnx/decoder_model_merged.onnx", form: "fp32" },
        vision: { file: "onnx/vision_encoder.onnx" },
        embedding: { file: "onnx/embed_tokens.onnx" },
      },
    });
    const flat = await copyOf(community);
    await cp(join(flat, "onnx"), flat, { recursive: true });
    await rm(join(flat, "onnx"), { recursive: true });
    expect((await open(flat)).graphs.decoder.file).toBe("decoder_model_merged.onnx");
  });

  it("is none of these where it is a checkpoint, a package of ours, or nothing at all", async () => {
    expect(await findForeignFiles(TINY_CHAT_DIR)).toBeUndefined();
    expect(await findForeignFiles(tinyChatPackage())).toBeUndefined();
    expect(await findForeignFiles(join(mobius, "decoder"))).toBeUndefined();
    expect(await findForeignFiles(join(mobius, "nowhere"))).toBeUndefined();
    // Published beside its weights: those are converted, with DeepStack.
    const both = await copyOf(community);
    await writeFile(join(both, "model.safetensors"), "");
    expect(await findForeignFiles(both)).toBeUndefined();
  });
});

describe("the graphs of an onnx-community package", () => {
  let several: string;

  beforeAll(async () => {
    several = await copyOf(community);
    const onnx = (name: string) => join(several, "onnx", name);
    for (const form of ["q4", "q4f16", "fp16", "quantized"]) {
      for (const base of ["decoder_model_merged", "vision_encoder", "embed_tokens"]) {
        await writeFile(onnx(`${base}_${form}.onnx`), form);
      }
    }
    await writeFile(onnx("decoder_model_merged_q4.onnx_data"), "12345");
    await writeFile(onnx("decoder_model_merged_q4.onnx_data_1"), "678");
    await writeFile(onnx("decoder_model_merged_q4f16.onnx_data"), "another one's");
  });

  it("are the 4-bit decoder and the most exact of the others when nobody names any", async () => {
    const { graphs } = await open(several);
    expect([graphs.decoder.form, graphs.vision.form, graphs.embedding.form]).toEqual([
      "q4",
      "fp32",
      "fp32",
    ]);
    expect(graphs.decoder.bytes).toBe(2 + 5 + 3);
  });

  it("are those that precision and visionPrecision name", async () => {
    const formOf = async (choices: Choices) => {
      const { decoder, vision } = (await open(several, choices)).graphs;
      return `${decoder.form} ${vision.form}`;
    };
    expect(await formOf({ precision: "fp32" })).toBe("fp32 fp32");
    expect(await formOf({ precision: "w8a8", visionPrecision: "fp16" })).toBe("quantized fp16");
    expect(await formOf({ precision: "q4f16", visionPrecision: "w8a8" })).toBe("q4f16 quantized");
  });

  it.each([
    ["q4f16", "q4f16 q4f16 q4f16"],
    [{ decoder_model_merged: "q8", vision_encoder: "fp16" }, "quantized fp16 fp32"],
    // Not there: as if nobody had named any.
    [{ decoder_model_merged: "bnb4", embed_tokens: "auto" }, "q4 fp32 fp32"],
  ])("are those that transformers.js_config names: %j", async (dtype, expected) => {
    const copy = await copyOf(several);
    const config = JSON.parse(await readFile(join(copy, "config.json"), "utf8"));
    const named = { ...config, "transformers.js_config": { dtype } };
    await writeFile(join(copy, "config.json"), JSON.stringify(named));
    const { decoder, vision, embedding } = (await open(copy)).graphs;
    expect(`${decoder.form} ${vision.form} ${embedding.form}`).toBe(expected);
    // Whoever calls goes first.
    expect((await open(copy, { precision: "fp32" })).graphs.decoder.form).toBe("fp32");
  });

  it("are refused by name where they are not there", async () => {
    const { code, message } = await refusal(open(community, { precision: "q4" }));
    expect(code).toBe("model-unsupported");
    expect(message).toContain("holds no decoder_model_merged for precision q4; it holds fp32");
    const vision = await refusal(open(community, { visionPrecision: "bf16" }));
    expect(vision.message).toContain("holds no vision_encoder for visionPrecision bf16");
  });
});

describe("the memory of a package of another program", () => {
  it("is that of all its graphs, and of two contexts for each that is in use", async () => {
    const found = await open(mobius);
    const { decoder, vision, embedding } = found.graphs;
    expect(found.weightBytes).toBe(decoder.bytes + vision.bytes + embedding.bytes);
    const demand = { ...found, contextTokens: 1000, imageTokens: 128, cacheBytes: 0 };
    const once = estimateMemory({ ...demand, contextCopies: 1 });
    expect(estimateMemory(demand).context).toBe(2 * once.context);
  });

  it("is refused where there is too little, with what to choose instead", async () => {
    const sentences: string[] = [];
    const found = await open(mobius);
    const options = resolveLoadOptions({
      model: mobius,
      featureCacheBytes: 2 ** 50,
      onWarning: (sentence) => sentences.push(sentence),
    });
    const asked = { contextTokens: 1000, imageTokens: 128 };
    expect(() => checkPackageMemory(found, options, asked)).toThrow(
      /mobius-tiny-tied in fp32 is expected to take .* Name smaller caches, or none/,
    );
  });
});

describe("what cannot be had of a package of another program", () => {
  it("is a precision that it was not exported in", async () => {
    const { code, message } = await refusal(loadQwen3Vl({ model: mobius, precision: "q4" }));
    expect(code).toBe("model-unsupported");
    expect(message).toMatch(/mobius layout.*precision cannot be q4.*safetensors checkpoint/);
  });

  it.each(["cuda:0", "webgpu"])("is another device: %s", async (device) => {
    for (const model of [mobius, community]) {
      const { code, message } = await refusal(loadQwen3Vl({ model, device: device as "webgpu" }));
      expect(code).toBe("model-unsupported");
      expect(message).toContain(`it runs on the CPU only, not on ${device}`);
    }
  });

  it("is an adapter", async () => {
    const { code, message } = await refusal(loadQwen3Vl({ model: chat, adapters: ["./lora"] }));
    expect(code).toBe("model-unsupported");
    expect(message).toContain("LoRA adapters cannot be merged into it");
  });

  it("is a part that is not there", async () => {
    const copy = await copyOf(mobius);
    await rm(join(copy, "embedding"), { recursive: true });
    const { code, missing } = await refusal(loadQwen3Vl({ model: copy }));
    expect([code, missing]).toEqual(["model-files-missing", ["embedding/model.onnx"]]);
    const other = await copyOf(community);
    await rm(join(other, "onnx", "vision_encoder.onnx"));
    expect((await refusal(open(other))).missing).toEqual(["onnx/vision_encoder.onnx"]);
  });

  it("is data that is missing or cut", async () => {
    for (const damage of [(file: string) => rm(file), (file: string) => writeFile(file, "short")]) {
      const copy = await copyOf(chat);
      await damage(join(copy, "decoder", "model.onnx.data"));
      const { code, message } = await refusal(loadQwen3Vl({ model: copy }));
      expect(code).toBe("model-files-missing");
      expect(message).toContain("The weights of model.onnx lie in files beside it");
    }
  });

  it("is a file that is no graph", async () => {
    const copy = await copyOf(community);
    await writeFile(join(copy, "onnx", "decoder_model_merged.onnx"), "not a graph");
    expect((await refusal(loadQwen3Vl({ model: copy }))).code).toBe("model-corrupt");
  });

  it("is a graph of another model, or with other inputs", async () => {
    const copy = await copyOf(chat);
    const config = JSON.parse(await readFile(join(copy, "config.json"), "utf8"));
    config.text_config.num_key_value_heads = 5;
    await writeFile(join(copy, "config.json"), JSON.stringify(config));
    const heads = await refusal(loadQwen3Vl({ model: copy }));
    expect(heads.code).toBe("model-unsupported");
    expect(heads.message).toMatch(/past_key_values\.0\.key.*\[any, 5, any, 32\] is expected/);

    const swapped = await copyOf(chat);
    await rm(join(swapped, "decoder"), { recursive: true });
    await cp(join(swapped, "embedding"), join(swapped, "decoder"), { recursive: true });
    const { message } = await refusal(loadQwen3Vl({ model: swapped }));
    expect(message).toContain("decoder/model.onnx");
    expect(message).toContain("its input `input_ids`");
  });

  it("is settings that were not exported with it", async () => {
    const copy = await copyOf(chat);
    await rm(join(copy, "config.json"));
    await mkdir(join(copy, "elsewhere"));
    const { code, missing } = await refusal(loadQwen3Vl({ model: copy }));
    expect([code, missing]).toEqual(["model-files-missing", ["config.json"]]);
  });
});

it("loads beside the settings of the runtime that mobius exports for", async () => {
  const copy = await copyOf(chat);
  const transforms = [{ operation: { name: "decode_image", type: "DecodeImage" } }];
  const processor = { processor: { name: "qwen3_vl_image_processor", transforms } };
  await writeFile(join(copy, "processor_config.json"), JSON.stringify(processor));
  await writeFile(join(copy, "genai_config.json"), JSON.stringify({ model: { type: "qwen3_vl" } }));
  await using model = await loadQwen3Vl({ model: copy });
  expect(model.info.warnings).toBeUndefined();
  await rm(join(copy, "preprocessor_config.json"));
  const { code, missing } = await refusal(loadQwen3Vl({ model: copy }));
  expect([code, missing]).toEqual(["model-files-missing", ["preprocessor_config.json"]]);
});

it("cannot be converted, and the error says what can", async () => {
  const { code, message } = await refusal(ensurePackage({ model: chat }));
  expect(code).toBe("model-files-missing");
  expect(message).toContain("ONNX graphs that another program made: they cannot be converted");
  expect(message).toContain("mobius and onnx-community layouts can be loaded as they are");
});

it("goes on to load a checkpoint that lies beside such graphs", async () => {
  const both = await copyOf(chat);
  await cp(join(TINY_CHAT_DIR, "model.safetensors"), join(both, "model.safetensors"));
  await using model = await loadQwen3Vl({ model: both, precision: "fp32" });
  expect(await findForeignFiles(both)).toBeUndefined();
  expect(model.info.name).toBe("copy");
});
