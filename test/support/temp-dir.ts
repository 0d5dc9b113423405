// A fresh directory for one test file, removed when the file is done.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";

export async function tempDir(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "napcat-vlm-test-"));
  afterAll(() => rm(dir, { recursive: true, force: true }));
  return dir;
}
