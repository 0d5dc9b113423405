import { expect, it } from "vitest";
import { describeLayers } from "../../../src/cli/doctor/layers.ts";
import type { LayerChoice } from "../../../src/vlm/convert/balance-inputs.ts";

const layer = (name: string, precision: LayerChoice["precision"], moved = 0): LayerChoice => ({
  name,
  precision,
  error: 0.01,
  plainError: 0.02,
  moved,
});

it("says what was chosen for the layers, in both languages", () => {
  const layers = [
    layer("blocks.0.attn.qkv", "w8a8", 0.5),
    layer("blocks.0.mlp.linear_fc2", "fp32"),
    layer("layers.0.mlp.down_proj", "q4", 0.25),
    layer("layers.1.mlp.down_proj", "w8a8"),
    layer("logits", "w8a8"),
  ];
  expect(describeLayers(layers, { decoder: "q4", vision: "w8a8" })).toEqual({
    zh: "5 个层输入中 2 个移动了尺度，2 个用更宽的格式 (blocks.0.mlp.linear_fc2 fp32, layers.1.mlp.down_proj w8a8)",
    en: "of 5 layer inputs 2 with moved scales, 2 in a wider format (blocks.0.mlp.linear_fc2 fp32, layers.1.mlp.down_proj w8a8)",
  });
  expect(describeLayers([], { decoder: "fp32", vision: "fp32" }).en).toBe("no quantised layers");
});
