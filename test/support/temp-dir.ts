// Fresh directories for one test file, removed when the file is done.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";

const dirs: string[] = [];

// Registered while the file is read: a hook that a running test registers is never called. Hooks run in reverse, so
// this one comes after those that close what lies in the directories.
afterAll(async () => {
  for (const dir of dirs) await rm(dir, { recursive: true, force: true, maxRetries: 3 });
});

export async function tempDir(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "napcat-vlm-test-"));
  dirs.push(dir);
  return dir;
}
