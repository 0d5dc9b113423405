// LoRA adapters that PEFT made: the logits of the merged model, and what is refused.

import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { withAdapters } from "../../../src/vlm/checkpoint/adapters.ts";
import { openCheckpoint } from "../../../src/vlm/checkpoint/open-checkpoint.ts";
import { convertCheckpoint } from "../../../src/vlm/convert/convert.ts";
import { isPackageOf, readManifest } from "../../../src/vlm/convert/manifest.ts";
import { largestDifference } from "../../support/float-error.ts";
import {
  adapterDirectory,
  type FormatFixture,
  formatFixture,
  logitsOf,
  quantizedCheckpoint,
} from "../../support/format-fixture.ts";
import { goldenCheckpoint } from "../../support/golden-checkpoint.ts";
import { tempDir } from "../../support/temp-dir.ts";

const ATOL = 1e-4;

describe.each([
  ["lora", "ranks, alphas and biases of their own, vision encoder, patch embedding and head"],
  ["lora-rs", "rsLoRA on all linear layers, and a merger that was trained whole"],
  ["lora-patterns", "alphas by regular expressions"],
  ["dora", "DoRA"],
  ["lora-embedding", "embeddings that were tied to the head before"],
  ["lora-head", "a head that was tied to the embeddings before"],
])("%s: %s", (name) => {
  it("gives the logits of PEFT's own model in fp32", async () => {
    const fixture = await formatFixture(name);
    const dir = await tempDir();
    const checkpointDir = await goldenCheckpoint(fixture.base, dir);
    const adapters = [await adapterDirectory(dir, fixture)];
    const outputDir = join(dir, "package");
    await convertCheckpoint({ checkpointDir, outputDir, precision: "fp32", adapters });
    for (const { logits, expected, base } of await logitsOf(outputDir, fixture)) {
      expect(largestDifference(logits, expected)).toBeLessThan(ATOL);
      expect(largestDifference(base, expected)).toBeGreaterThan(100 * ATOL);
    }
  });
});

describe("a package with adapters", () => {
  it("says which, and is not taken for one of the checkpoint alone", async () => {
    const fixture = await formatFixture("lora");
    const dir = await tempDir();
    const checkpointDir = await goldenCheckpoint(fixture.base, dir);
    const adapters = [await adapterDirectory(dir, fixture, "first")];
    const outputDir = join(dir, "package");
    await convertCheckpoint({ checkpointDir, outputDir, precision: "q4", adapters });
    const manifest = await readManifest(outputDir);
    expect(manifest.adapters).toEqual([
      {
        name: "first",
        inputs: [
          expect.objectContaining({ file: "adapter_config.json" }),
          expect.objectContaining({ file: "adapter_model.safetensors" }),
        ],
      },
    ]);
    expect(manifest.inputs.map(({ file }) => file)).not.toContain("adapter_config.json");
    expect(await isPackageOf(manifest, checkpointDir, manifest.precision)).toBe(false);
    const plain = join(dir, "plain");
    await convertCheckpoint({ checkpointDir, outputDir: plain, precision: "q4" });
    expect(await readFile(join(plain, "manifest.json"), "utf8")).not.toContain("adapters");
  });

  it("has several merged one after the other, in any number format of the base", async () => {
    const fixture = await formatFixture("lora-rs");
    const dir = await tempDir();
    const first = await adapterDirectory(dir, fixture, "first");
    const again = await adapterDirectory(
      dir,
      { ...fixture, settings: { ...fixture.settings, lora_alpha: -2 } },
      "again",
    );
    const base = await openCheckpoint(await goldenCheckpoint(fixture.base, dir));
    const both = await withAdapters(base, [first, again]);
    const name = "model.language_model.layers.1.mlp.up_proj.weight";
    const rows = await Promise.all(
      [base, both].map(async ({ tensors }) => {
        const row = new Float32Array(64);
        await tensors.get(name)?.readRows(9, 1, row);
        return row;
      }),
    );
    // The second takes away what the first adds.
    expect(largestDifference(rows[0] ?? [], rows[1] ?? [])).toBeLessThan(1e-6);
    expect(both.adapters.map((adapter) => adapter.name)).toEqual(["first", "again"]);
    await both.close();
  });
});

describe("adapters that are refused", () => {
  it.each([
    [{ peft_type: "LOHA" }, "peft_type LOHA"],
    [{ init_lora_weights: "pissa_niter_4" }, "pissa_niter_4"],
    [{ alora_invocation_tokens: [1, 2] }, "alora_invocation_tokens"],
    [{ layer_replication: [[0, 2]] }, "layer_replication"],
    [{ trainable_token_indices: [3] }, "trainable_token_indices"],
    [{ some_new_option: true }, "some_new_option true"],
    [{ alpha_pattern: { "(?P<n>q_proj)": 2 } }, "alpha_pattern for `(?P<n>q_proj)`"],
    [{ use_dora: true }, "use_dora"],
  ])("%j", async (settings, words) => {
    const fixture = await formatFixture("lora-rs");
    const changed = { ...fixture, settings: { ...fixture.settings, ...settings } };
    await expectRefused(changed, words);
  });

  it.each([
    ["layers.3.", "layers.30.", "this model has no model.language_model.layers.30."],
    [".lora_A.", ".lora_E.", "is no part of a LoRA"],
    [".lora_A.weight", ".lora_A.other.bias", "one matrix of two"],
  ])("tensors with %s as %s", async (from, to, words) => {
    const fixture = await formatFixture("lora-rs");
    const tensors = fixture.tensors.map((tensor) => ({
      ...tensor,
      name: tensor.name.replace(from, to),
    }));
    await expectRefused({ ...fixture, tensors }, words);
  });

  it("DoRA on token embeddings, by name", async () => {
    const fixture = await formatFixture("lora-embedding");
    const module = "base_model.model.model.language_model.embed_tokens";
    const magnitude = { dtype: "F32", shape: [64], bytes: Buffer.alloc(256) };
    const tensors = [
      ...fixture.tensors,
      { ...magnitude, name: `${module}.lora_magnitude_vector.weight` },
    ];
    await expectRefused({ ...fixture, tensors }, `DoRA on embeddings (${module})`);
  });

  it("trained on a model of another size", async () => {
    const fixture = await formatFixture("lora-head");
    const tensors = fixture.tensors.map((tensor) =>
      tensor.name.endsWith("lm_head.weight") ? { ...tensor, shape: [128, 128] } : tensor,
    );
    await expectRefused({ ...fixture, tensors }, "lm_head.weight is [128, 128] and does not fit");
  });

  it("over a base in 4 bits", async () => {
    const dir = await tempDir();
    const checkpointDir = await quantizedCheckpoint(dir, await formatFixture("awq"));
    const adapters = [await adapterDirectory(dir, await formatFixture("lora-rs"))];
    const outputDir = join(dir, "package");
    await expect(
      convertCheckpoint({ checkpointDir, outputDir, precision: "w8a8", adapters }),
    ).rejects.toThrow("stored in 4 bits (AWQ)");
  });

  it("without their files, pickled ones by name", async () => {
    const fixture = await formatFixture("lora");
    const dir = await tempDir();
    const checkpointDir = await goldenCheckpoint(fixture.base, dir);
    const adapter = await adapterDirectory(dir, fixture);
    const base = await openCheckpoint(checkpointDir);
    await rename(join(adapter, "adapter_model.safetensors"), join(adapter, "adapter_model.bin"));
    await expect(withAdapters(base, [adapter])).rejects.toThrow("pickled");
    await writeFile(join(adapter, "adapter_model.safetensors"), "");
    await expect(withAdapters(base, [adapter])).rejects.toThrow("truncated");
    await expect(withAdapters(base, [join(dir, "nowhere")])).rejects.toThrow(
      expect.objectContaining({ missing: ["adapter_config.json", "adapter_model.safetensors"] }),
    );
    await base.close();
  });
});

async function expectRefused(
  fixture: Pick<FormatFixture, "base" | "settings" | "tensors">,
  words: string,
): Promise<void> {
  const dir = await tempDir();
  const base = await openCheckpoint(await goldenCheckpoint(fixture.base, dir));
  try {
    await expect(withAdapters(base, [await adapterDirectory(dir, fixture)])).rejects.toThrow(words);
  } finally {
    await base.close();
  }
}
