// A golden checkpoint as a package in some formats, converted and opened for one test file.

import { join } from "node:path";
import { convertCheckpoint } from "../../src/vlm/convert/convert.ts";
import type { ConvertOptions } from "../../src/vlm/convert/convert-options.ts";
import { type OnnxPackage, openPackage } from "../../src/vlm/engine/onnx-package.ts";
import { type GoldenName, goldenCheckpoint } from "./golden-checkpoint.ts";
import { tempDir } from "./temp-dir.ts";

export async function goldenPackage(
  name: GoldenName,
  formats: Omit<ConvertOptions, "checkpointDir" | "outputDir">,
): Promise<OnnxPackage> {
  const directory = await tempDir();
  const outputDir = join(directory, "package");
  const checkpointDir = await goldenCheckpoint(name, directory);
  await convertCheckpoint({ checkpointDir, outputDir, ...formats });
  return openPackage(outputDir);
}
