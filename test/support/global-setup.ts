// Runs once before the suite: converts the tiny chat checkpoint into a temporary directory that all tests share.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TestProject } from "vitest/node";
import { convertCheckpoint } from "../../src/vlm/convert/convert.ts";

declare module "vitest" {
  export interface ProvidedContext {
    tinyChatPackage: string;
  }
}

export default async function setup({ provide }: TestProject): Promise<() => Promise<void>> {
  const directory = await mkdtemp(join(tmpdir(), "napcat-vlm-tests-"));
  const checkpointDir = fileURLToPath(new URL("../../examples/tiny-chat", import.meta.url));
  const outputDir = join(directory, "tiny-chat-fp32");
  await convertCheckpoint({ checkpointDir, outputDir, precision: "fp32" });
  provide("tinyChatPackage", outputDir);
  return () => rm(directory, { recursive: true, force: true });
}
