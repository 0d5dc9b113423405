// Repositories that hold only ONNX graphs of other programs: what is fetched of them, and what they are afterwards.

import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { ModelStore } from "../../../src/vlm/hub/model-store.ts";
import { pull } from "../../../src/vlm/hub/pull.ts";
import type { PullOptions } from "../../../src/vlm/hub/pull-options.ts";
import type { PullProgress } from "../../../src/vlm/hub/pull-progress.ts";
import { loadQwen3Vl } from "../../../src/vlm/qwen3-vl.ts";
import { communityPackage } from "../../support/community-package.ts";
import { mobiusPackage } from "../../support/mobius-package.ts";
import { treeOf } from "../../support/model-files.ts";
import { type ModelHub, sha256Of, startModelHub } from "../../support/model-hub.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { TINY_CHAT_DIR } from "../../support/tiny-chat.ts";

type Files = Readonly<Record<string, Buffer>>;

let community: Files;
let mobius: Files;
beforeAll(async () => {
  const parent = await tempDir();
  const dir = await communityPackage(TINY_CHAT_DIR, parent, { decoders: ["fp32", "w8a8", "q4"] });
  // As such repositories are: many formats of each graph, and data in several files.
  const others = ["fp16", "q4f16", "bnb4", "int8", "uint8"].flatMap((form) =>
    ["decoder_model_merged", "vision_encoder", "embed_tokens"].flatMap((base) => [
      [`onnx/${base}_${form}.onnx`, Buffer.from(`${form} of ${base}`)],
      [`onnx/${base}_${form}.onnx_data`, Buffer.alloc(30_000, form)],
    ]),
  );
  const readme = Buffer.from("# A model\n");
  community = { "README.md": readme, ...Object.fromEntries(others), ...treeOf(dir) };
  mobius = { "README.md": readme, ...treeOf(await mobiusPackage("tiny-chat", parent)) };
});

let dir: string;
let hub: ModelHub;
beforeEach(async () => {
  dir = await tempDir();
});
afterEach(() => hub?.close());

async function serve(files: Files): Promise<void> {
  hub = await startModelHub({ model: "onnx-community/tiny-ONNX", files });
}

function pulled(options: Partial<PullOptions> & { readonly env?: Record<string, string> } = {}) {
  const { env, ...others } = options;
  return pull(
    {
      model: hub.model,
      modelsDir: join(dir, "models"),
      onWarning: () => {},
      env: {
        HF_ENDPOINT: hub.url,
        HF_HOME: join(dir, "hf"),
        MODELSCOPE_CACHE: join(dir, "ms"),
        ...env,
      },
      ...others,
    },
    { pauseMs: 1, patienceMs: 60_000 },
  );
}

const SETTINGS = [
  "chat_template.json",
  "config.json",
  "generation_config.json",
  "preprocessor_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
];
const graph = (name: string) => [`onnx/${name}.onnx`, `onnx/${name}.onnx_data`];

/** These files, whole, and nothing else. */
function expectFiles(path: string, all: Files, names: readonly string[]): void {
  const found = treeOf(path);
  expect(Object.keys(found).toSorted()).toEqual(names.toSorted());
  for (const name of names) expect(found[name]?.equals(all[name] as Buffer), name).toBe(true);
}

describe("a repository of the onnx-community layout", () => {
  it("gives one graph for each part, with its data, and is used as it is", async () => {
    await serve(community);
    const seen: PullProgress[] = [];
    const model = await pulled({ onProgress: (event) => seen.push(event) });
    expect(model).toMatchObject({ hub: "hf", revision: hub.commit, checkpointDir: undefined });
    const graphs = ["decoder_model_merged_q4", "vision_encoder", "embed_tokens"].flatMap(graph);
    expectFiles(model.path, community, [...SETTINGS, ...graphs]);
    const plan = seen.find(({ type }) => type === "plan");
    const bytes = graphs.reduce((sum, name) => sum + (community[name]?.byteLength ?? 0), 0);
    expect(plan).toMatchObject({ layout: "onnx-community", totalBytes: bytes, diskBytes: bytes });
    expect(seen.some(({ type }) => type === "convert")).toBe(false);
    expect(await pulled()).toMatchObject({ wasHere: true, path: model.path });

    const warnings: string[] = [];
    await using loaded = await loadQwen3Vl({
      model: model.path,
      onWarning: (line) => warnings.push(line),
    });
    expect(loaded.info.name).toBe("onnx-community/tiny-ONNX");
    expect(warnings.filter((line) => line.includes("DEEPSTACK IS MISSING"))).toHaveLength(1);
  });

  it("gives the formats that are named, beside those that are here", async () => {
    await serve(community);
    const { path } = await pulled({ precision: "fp16", visionPrecision: "w8a8" });
    const first = [
      ...graph("decoder_model_merged_fp16"),
      ...graph("vision_encoder_int8"),
      ...graph("embed_tokens"),
    ];
    expectFiles(path, community, [...SETTINGS, ...first]);
    // Whoever names no format is content with what is here.
    expect(await pulled()).toMatchObject({ wasHere: true });
    hub.asked.length = 0;
    expect(await pulled({ precision: "w8a8" })).toMatchObject({ wasHere: false, path });
    const second = [...graph("decoder_model_merged_quantized"), ...graph("vision_encoder")];
    expectFiles(path, community, [...SETTINGS, ...first, ...second]);
    expect(hub.asked.some((line) => line.includes("embed_tokens"))).toBe(false);
    expect(await pulled({ precision: "fp16" })).toMatchObject({ wasHere: true });
    const found = await new ModelStore(join(dir, "models")).get(hub.model);
    expect(found.foreign?.graphs.decoder.map(({ form }) => form)).toEqual(["fp16", "quantized"]);
    expect(found.record?.files.map((file) => file.path).toSorted()).toEqual(
      [...SETTINGS, ...first, ...second].toSorted(),
    );
  });

  it("names the formats that it has for one that it has not, before anything large is fetched", async () => {
    const { "onnx/decoder_model_merged_fp16.onnx": _, ...others } = community;
    await serve(others);
    const pulling = pulled({ precision: "fp16" });
    await expect(pulling).rejects.toMatchObject({ code: "model-unsupported" });
    await expect(pulling).rejects.toThrow(
      /onnx-community\/tiny-ONNX on 127\S+ holds no decoder_model_merged for precision fp16; it holds fp32, w8a8, q4, q4f16/,
    );
    expect(hub.asked.filter((line) => line.includes("onnx/"))).toEqual([]);
  });

  it.each([
    ["device", { device: "webgpu" as const }, /runs on the CPU only, not on webgpu/],
    [
      "precision of cards",
      { precision: "w8a16" as const },
      /no decoder_model_merged for precision/,
    ],
  ])(
    "is refused for another %s before anything large is fetched",
    async (_what, options, words) => {
      await serve(community);
      const pulling = pulled(options);
      await expect(pulling).rejects.toMatchObject({ code: "model-unsupported" });
      await expect(pulling).rejects.toThrow(words);
      expect(hub.asked.filter((line) => line.includes("onnx/"))).toEqual([]);
    },
  );

  it.each([
    ["onnx/vision_encoder", /lacks onnx\/vision_encoder\.onnx/],
    ["preprocessor_config.json", /preprocessor_config\.json/],
    ["tokenizer.json", /tokenizer\.json/],
  ])("that lacks %s is refused before anything large is fetched", async (lacking, words) => {
    await serve(
      Object.fromEntries(Object.entries(community).filter(([name]) => !name.startsWith(lacking))),
    );
    const pulling = pulled();
    await expect(pulling).rejects.toMatchObject({ code: "model-files-missing" });
    await expect(pulling).rejects.toThrow(words);
    expect(hub.asked.filter((line) => line.includes("onnx/"))).toEqual([]);
  });

  it("goes on where it was, and no graph is there before its data", async () => {
    await serve(community);
    const controller = new AbortController();
    const file = "onnx/decoder_model_merged_q4.onnx_data";
    hub.fault = ({ place, file: asked, response, data }) => {
      if (asked !== file || place !== "cdn") return false;
      // The rest never comes.
      const headers = { "content-range": `bytes 0-${data.byteLength - 1}/${data.byteLength}` };
      response.writeHead(206, headers).write(data.subarray(0, 100_000));
      return true;
    };
    const store = new ModelStore(join(dir, "models"));
    const snapshot = store.snapshotDir(hub.model, hub.commit);
    const pulling = pulled({ signal: controller.signal });
    const journal = join(snapshot, `${file}.part.ranges`);
    const lines = () => (existsSync(journal) ? readFileSync(journal, "utf8").split("\n") : []);
    await vi.waitUntil(() => lines().length > 2, { timeout: 60_000 });
    controller.abort(new Error("enough"));
    await expect(pulling).rejects.toThrow("enough");
    const begun = await store.get(hub.model);
    expect(begun).toMatchObject({ record: undefined, foreign: undefined });
    expect(readdirSync(join(snapshot, "onnx")).filter((name) => name.endsWith(".onnx"))).toEqual(
      [],
    );
    hub.fault = undefined;
    hub.asked.length = 0;
    const { path } = await pulled();
    expect(path).toBe(snapshot);
    const graphs = ["decoder_model_merged_q4", "vision_encoder", "embed_tokens"].flatMap(graph);
    expectFiles(path, community, [...SETTINGS, ...graphs]);
    const again = hub.asked.find((line) => line.startsWith(`cdn ${file} `)) ?? "";
    expect(Number(/ (\d+)-/.exec(again)?.[1])).toBeGreaterThan(0);
  });

  it("is had from ModelScope, and from Hugging Face's cache without the network", async () => {
    await serve(community);
    const env = { HF_ENDPOINT: "", MODELSCOPE_ENDPOINT: hub.url };
    const { path } = await pulled({ env });
    const graphs = ["decoder_model_merged_q4", "vision_encoder", "embed_tokens"].flatMap(graph);
    expectFiles(path, community, [...SETTINGS, ...graphs]);

    const cache = join(dir, "hf", "hub", "models--onnx-community--tiny-ONNX");
    const snapshot = join(cache, "snapshots", hub.commit);
    for (const each of [join(snapshot, "onnx"), join(cache, "blobs"), join(cache, "refs")]) {
      mkdirSync(each, { recursive: true });
    }
    writeFileSync(join(cache, "refs", "main"), hub.commit);
    for (const [name, data] of Object.entries(community)) {
      const blob = join(cache, "blobs", sha256Of(data));
      writeFileSync(blob, data);
      symlinkSync(blob, join(snapshot, name));
    }
    hub.asked.length = 0;
    const modelsDir = join(dir, "others");
    const offline = await pulled({ env: { HF_HUB_OFFLINE: "1" }, modelsDir });
    expectFiles(offline.path, community, [...SETTINGS, ...graphs]);
    expect(hub.asked).toEqual([]);
  });

  it("that is damaged is fetched again", async () => {
    await serve(community);
    const { path } = await pulled();
    const data = join(path, "onnx", "embed_tokens.onnx_data");
    writeFileSync(data, readFileSync(data).subarray(1));
    expect(await pulled()).toMatchObject({ wasHere: false, path });
    expect(readFileSync(data).equals(community["onnx/embed_tokens.onnx_data"] as Buffer)).toBe(
      true,
    );
  });

  it("beside weights is left where it is: those are converted", async () => {
    const weights = treeOf(TINY_CHAT_DIR)["model.safetensors"] as Buffer;
    await serve({ ...community, "model.safetensors": weights });
    const { path } = await pulled({ convert: false });
    expectFiles(path, { ...community, "model.safetensors": weights }, [
      ...SETTINGS,
      "model.safetensors",
    ]);
  });
});

describe("a repository of the mobius layout", () => {
  it("is fetched as a whole, and loads with DeepStack", async () => {
    await serve(mobius);
    const { path } = await pulled();
    const { "README.md": _, ...all } = mobius;
    expectFiles(path, mobius, Object.keys(all));
    await using model = await loadQwen3Vl({ model: path });
    expect(model.info.warnings).toBeUndefined();
  });

  it("has the formats that it was made in", async () => {
    await serve(mobius);
    await expect(pulled({ precision: "q4" })).rejects.toThrow(/precision cannot be q4/);
    expect(hub.asked.filter((line) => line.includes(".onnx"))).toEqual([]);
  });
});

describe("graphs in another layout", () => {
  it.each([
    [["model.onnx", "model.onnx.data", "qwen3vl-vision.onnx", "genai_config.json"], "GenAI"],
    [["cpu-int4/model.onnx", "cpu-int4/genai_config.json"], "GenAI"],
    [["graphs/of/it.onnx"], "another program made"],
  ])("such as %j are refused by name, with what to do", async (names, words) => {
    await serve(Object.fromEntries(names.map((name) => [name, Buffer.from(name)])));
    const pulling = pulled();
    await expect(pulling).rejects.toMatchObject({ code: "model-not-found" });
    await expect(pulling).rejects.toThrow(words);
    await expect(pulling).rejects.toThrow("pull the safetensors model that they were made from");
  });
});

describe("a pulled package of another program", () => {
  it("is not taken for whole where a file of it is gone", async () => {
    await serve(community);
    const { path } = await pulled();
    await rm(join(path, "onnx", "embed_tokens.onnx"));
    const store = new ModelStore(join(dir, "models"));
    expect((await store.get(hub.model)).foreign).toBeUndefined();
    expect(await pulled()).toMatchObject({ wasHere: false });
    expect((await store.get(hub.model)).foreign?.layout).toBe("onnx-community");
  });
});
