import { describe, expect, it } from "vitest";
import { parseConfig } from "../../../src/vlm/checkpoint/config.ts";
import { expectedTensors } from "../../../src/vlm/checkpoint/tensor-names.ts";
import { CACHE_FORMATS } from "../../../src/vlm/convert/cached-attention.ts";
import { decoderGraph } from "../../../src/vlm/convert/decoder-graph.ts";
import { visionGraph } from "../../../src/vlm/convert/vision-graph.ts";
import type { WeightPlan } from "../../../src/vlm/convert/weight-plan.ts";
import { messages, readProto, strings } from "../../support/protobuf-reader.ts";
import { CONFIG_2B, CONFIG_SMALL } from "../../support/synthetic-checkpoint.ts";

const config = parseConfig(CONFIG_SMALL, "config.json");

/** Operators of a written model with their attributes, read back from the bytes. */
function writtenNodes(bytes: Uint8Array) {
  const graph = messages(readProto(bytes), 7)[0];
  if (graph === undefined) throw new Error("The model has no graph.");
  return messages(graph, 1).map((node) => ({
    op: strings(node, 4)[0],
    attributes: Object.fromEntries(
      messages(node, 5).map((attribute) => [
        strings(attribute, 1)[0],
        attribute.get(2)?.[0] ?? attribute.get(3)?.[0] ?? strings(attribute, 4)[0],
      ]),
    ),
  }));
}

describe("visionGraph", () => {
  const nodes = writtenNodes(visionGraph(config, "fp32").model.serialize("data", "1"));

  it("writes the reference's epsilon 1e-6 into every LayerNormalization", () => {
    const norms = nodes.filter(({ op }) => op === "LayerNormalization");
    // Two per block, one per merger.
    expect(norms).toHaveLength(2 * 3 + 1 + 2);
    for (const { attributes } of norms) expect(attributes.epsilon).toBe(Math.fround(1e-6));
  });

  it("uses the tanh GELU in the blocks and the exact one in all mergers", () => {
    const kinds = nodes.filter(({ op }) => op === "Gelu").map((n) => n.attributes.approximate);
    expect(kinds.filter((kind) => kind === "tanh")).toHaveLength(3);
    expect(kinds.filter((kind) => kind === "none")).toHaveLength(3);
  });

  it("keeps the patch embedding in fp32 when the rest is int8", () => {
    const { plan } = visionGraph(config, "w8a8");
    const kinds = new Map(plan.map((line) => [line.target.name, line.kind]));
    expect(kinds.get("patch_embed.product.weight")).toBe("transposed");
    expect(kinds.get("blocks.0.attn.packed.product.weight")).toBe("int8");
  });
});

describe("decoderGraph", () => {
  it.each([1e-6, 1e-5])("writes the configured epsilon %d into every RMSNormalization", (eps) => {
    const text_config = { ...CONFIG_SMALL.text_config, rms_norm_eps: eps };
    const { model } = decoderGraph(parseConfig({ ...CONFIG_SMALL, text_config }, ""), "fp32");
    const norms = writtenNodes(model.serialize("data", "1")).filter(
      ({ op }) => op === "RMSNormalization",
    );
    // Four per layer and the final one.
    expect(norms).toHaveLength(4 * 2 + 1);
    for (const { attributes } of norms) expect(attributes.epsilon).toBe(Math.fround(eps));
  });

  it("gives every attention both present outputs", () => {
    const attentions = decoderGraph(config, "q4").model.nodes.filter(
      ({ op }) => op === "GroupQueryAttention",
    );
    expect(attentions.map(({ outputs }) => outputs.slice(1))).toEqual([
      ["present.0.key", "present.0.value"],
      ["present.1.key", "present.1.value"],
    ]);
  });

  it.each(CACHE_FORMATS)(
    "has the same weights in the same places with keys and values in %s",
    (cache) => {
      const types = { fp32: "f32", fp16: "f16", int8: "i8" };
      for (const precision of ["fp32", "w8a8", "q4"] as const) {
        const usual = decoderGraph(config, precision);
        const other = decoderGraph(config, precision, "s8", { cache });
        expect(other.plan).toEqual(usual.plan);
        expect(other.model.externals).toEqual(usual.model.externals);
        const kept = other.model.inputs.filter(({ name }) => name.startsWith("past_key_values."));
        expect(kept.map(({ type }) => type)).toEqual(Array(4).fill(types[cache]));
      }
    },
  );

  it("names inputs and outputs as documented, logits first", () => {
    const { model } = decoderGraph(config, "fp32");
    expect(model.inputs.map(({ name }) => name)).toEqual([
      "inputs_embeds",
      "deepstack_embeds",
      "rotary_cos",
      "rotary_sin",
      "seqlens_k",
      "total_sequence_length",
      "logit_rows",
      "joined",
      "joined_places",
      "joined_seqlens_k",
      "joined_total_sequence_length",
      "past_key_values.0.key",
      "past_key_values.0.value",
      "joined_key_values.0.key",
      "joined_key_values.0.value",
      "past_key_values.1.key",
      "past_key_values.1.value",
      "joined_key_values.1.key",
      "joined_key_values.1.value",
    ]);
    expect(model.outputs.map(({ name }) => name)).toEqual([
      "logits",
      "present.0.key",
      "present.0.value",
      "joined_present.0.key",
      "joined_present.0.value",
      "present.1.key",
      "present.1.value",
      "joined_present.1.key",
      "joined_present.1.value",
    ]);
    // No operator that WebGPU lacks, and no second attention.
    const webgpu = decoderGraph(config, "fp32", "s8", { device: "webgpu" }).model;
    expect(webgpu.nodes.map(({ op }) => op)).not.toContain("If");
    expect(webgpu.inputs.map(({ name }) => name)).not.toContain("joined");
  });

  it("keeps an int8 head in a 4-bit decoder", () => {
    const { plan } = decoderGraph(config, "q4");
    const line = plan.find(({ target }) => target.name === "logits.weight");
    expect(line?.kind).toBe("int8");
    const others = plan.filter(({ kind, target }) => kind !== "values" && target !== line?.target);
    expect(new Set(others.map(({ kind }) => kind))).toEqual(new Set(["blocks"]));
  });
});

describe("the plan of a package", () => {
  it.each(["fp32", "w8a8", "q4"] as const)(
    "uses every tensor once in %s, the tied table apart",
    (precision) => {
      const tied = parseConfig(CONFIG_2B, "config.json");
      const untied = parseConfig({ ...CONFIG_2B, tie_word_embeddings: false }, "config.json");
      const vision = precision === "fp32" ? "fp32" : "w8a8";
      for (const sizes of [tied, untied]) {
        const used = [visionGraph(sizes, vision), decoderGraph(sizes, precision)].flatMap(
          ({ plan }) => plan.flatMap(sourcesOf),
        );
        if (!sizes.tiedEmbeddings) used.push("model.language_model.embed_tokens.weight");
        expect(used.toSorted()).toEqual(
          expectedTensors(sizes)
            .map(({ name }) => name)
            .toSorted(),
        );
      }
    },
  );
});

describe("the weights of a package", () => {
  const { text_config, vision_config } = CONFIG_2B;
  // 4B: heads x head size is 4096, not the hidden size. 8B: vision heads of 72, an inner width of no block's multiple.
  const sizes = {
    "2B": CONFIG_2B,
    "4B": {
      ...CONFIG_2B,
      text_config: { ...text_config, hidden_size: 2560, num_attention_heads: 32 },
      vision_config: { ...vision_config, out_hidden_size: 2560 },
    },
    "8B": {
      ...CONFIG_2B,
      tie_word_embeddings: false,
      text_config: { ...text_config, hidden_size: 4096, num_attention_heads: 32 },
      vision_config: {
        ...vision_config,
        depth: 27,
        hidden_size: 1152,
        intermediate_size: 4304,
        out_hidden_size: 4096,
        deepstack_visual_indexes: [8, 16, 24],
      },
    },
    odd: CONFIG_SMALL,
  };

  it.each(Object.entries(sizes))("have the shapes of their tensors turned: %s", (_, json) => {
    const config = parseConfig(json, "config.json");
    const shapes = new Map(expectedTensors(config).map(({ name, shape }) => [name, shape]));
    const matrix = (name: string) => {
      const [rows = 0, ...rest] = shapes.get(name) ?? [];
      return { rows, columns: rest.reduce((product, size) => product * size, 1) };
    };
    for (const precision of ["fp32", "w8a8", "q4"] as const) {
      const vision = visionGraph(config, precision === "q4" ? "w8a8" : precision);
      for (const line of [...vision.plan, ...decoderGraph(config, precision).plan]) {
        if (line.kind === "values") {
          expect(line.target.shape).toEqual(shapes.get(line.source));
          continue;
        }
        const parts = line.sources.map(matrix);
        const rows = parts.reduce((sum, part) => sum + part.rows, 0);
        const [columns] = new Set(parts.map((part) => part.columns));
        const blocks = Math.ceil((columns ?? 0) / 128);
        const expected = line.kind === "blocks" ? [rows, blocks, 64] : [columns, rows];
        expect([line.sources, line.target.shape]).toEqual([line.sources, expected]);
      }
    }
  });
});

function sourcesOf(line: WeightPlan): readonly string[] {
  return line.kind === "values" ? [line.source] : line.sources;
}
