// Checkpoints of other formats in test/goldens/formats, made by the tools that people use; make.py there tells how. In: a
// name. Out: a complete checkpoint or adapter directory, and what the reference computes with it.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "vitest";
import { type GoldenName, goldenCases, goldenCheckpoint } from "./golden-checkpoint.ts";
import { encodeGoldenPictures, GraphRunner } from "./graph-runner.ts";
import { type Json, merge, safetensors, type Tensor, tensorsOf } from "./patched-checkpoint.ts";

const FORMATS = join(import.meta.dirname, "..", "goldens", "formats");

export interface FormatFixture {
  readonly base: GoldenName;
  /** quantization_config or adapter_config.json */
  readonly settings: { readonly [key: string]: Json };
  /** What the tool stored, by the names it gave. */
  readonly tensors: readonly Tensor[];
  /** Of the reference in f32, by the name of the golden case: (tokens, vocabulary). */
  readonly logits: ReadonlyMap<string, Float32Array>;
  /** Some weights as the tool itself reads them. */
  readonly weights: ReadonlyMap<string, Float32Array>;
}

export async function formatFixture(name: string): Promise<FormatFixture> {
  const file = await readFile(join(FORMATS, `${name}.safetensors`));
  const { tensors, metadata } = tensorsOf(file);
  const starting = (prefix: string) =>
    tensors.flatMap((tensor) =>
      tensor.name.startsWith(prefix) ? [{ ...tensor, name: tensor.name.slice(prefix.length) }] : [],
    );
  const values = (prefix: string) =>
    new Map(starting(prefix).map(({ name, bytes }) => [name, floats(bytes)]));
  return {
    base: metadata.base as GoldenName,
    settings: JSON.parse(metadata.settings ?? "{}") as FormatFixture["settings"],
    tensors: [...starting("checkpoint."), ...starting("adapter.")],
    logits: values("logits."),
    weights: values("weights."),
  };
}

/** The base model with the weights of the fixture in place of its own. */
export async function quantizedCheckpoint(
  parent: string,
  { base, settings, tensors }: Pick<FormatFixture, "base" | "settings" | "tensors">,
): Promise<string> {
  const dir = await goldenCheckpoint(base, parent);
  const modules = new Set(tensors.map(({ name }) => name.slice(0, name.lastIndexOf("."))));
  const path = join(dir, "model.safetensors");
  const kept = tensorsOf(await readFile(path)).tensors.filter(
    ({ name }) => !modules.has(name.slice(0, name.lastIndexOf("."))),
  );
  await writeFile(path, safetensors([...kept, ...tensors]));
  const config = JSON.parse(await readFile(join(dir, "config.json"), "utf8")) as Json;
  const changed = merge(config, { quantization_config: settings });
  await writeFile(join(dir, "config.json"), JSON.stringify(changed));
  return dir;
}

/** A directory as PEFT saves it. */
export async function adapterDirectory(
  parent: string,
  { settings, tensors }: Pick<FormatFixture, "settings" | "tensors">,
  name = "adapter",
): Promise<string> {
  const dir = join(parent, name);
  await mkdir(dir, { recursive: true });
  await writeFile(join(dir, "adapter_config.json"), JSON.stringify(settings));
  await writeFile(join(dir, "adapter_model.safetensors"), safetensors(tensors));
  return dir;
}

function floats(bytes: Uint8Array): Float32Array {
  return new Float32Array(new Uint8Array(bytes).buffer);
}

/** What a package computes for the golden cases that the fixture has logits of, and what the reference does, with what the fixture changes and without. */
export async function logitsOf(
  outputDir: string,
  fixture: FormatFixture,
): Promise<readonly { logits: Float32Array; expected: Float32Array; base: Float32Array }[]> {
  const runner = await GraphRunner.open(outputDir);
  const found: { logits: Float32Array; expected: Float32Array; base: Float32Array }[] = [];
  try {
    for (const golden of await goldenCases(fixture.base)) {
      const expected = fixture.logits.get(golden.name);
      if (expected === undefined) continue;
      const features = await encodeGoldenPictures(runner, golden);
      runner.reset(64);
      const { inputIds: ids, positionIds: positions } = golden;
      const logits = await runner.decode({ ids, positions, features });
      found.push({ logits, expected, base: golden.logits });
    }
  } finally {
    await runner.close();
  }
  // A case without logits would be a comparison that cannot fail.
  expect(found).toHaveLength(fixture.logits.size);
  return found;
}
