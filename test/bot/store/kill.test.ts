// A process that is killed while it writes leaves the past as it was before or after the write, with all its pictures.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openChatStore } from "../../../src/bot/store/chat-store.ts";
import { bundleChild, type Child } from "../../support/child-process.ts";
import { RecordingLogger } from "../../support/recording-logger.ts";
import { tempDir } from "../../support/temp-dir.ts";

const root = await tempDir();
let child: Child;
beforeAll(async () => {
  child = await bundleChild(new URL("writing-child.ts", import.meta.url));
});
afterAll(() => child.remove());

it.each([1, 13, 40, 77])("survives kill -9 after %i of 100 writes", async (killAfter) => {
  const directory = join(root, `${killAfter}`);
  const writer = spawn(process.execPath, [child.script, directory], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(writer, "exit");
  let said = 0;
  for await (const line of createInterface({ input: writer.stdout })) {
    said = Number(line);
    if (said >= killAfter) writer.kill("SIGKILL");
  }
  await exited;

  const logger = new RecordingLogger();
  const store = await openChatStore({ directory, logger });
  const past = store.histories.read("group:7") ?? [];
  // What was said to be stored is there; the write that was cut off is there as a whole, or not at all.
  expect(past.length).toBeGreaterThanOrEqual(said);
  expect(past.map(({ answer }) => answer)).toEqual(past.map((_, number) => `${number}`));
  for (const [number, { parts }] of past.entries()) {
    const [part] = parts;
    const bytes = part?.type === "picture" ? store.histories.picture(part.hash) : undefined;
    expect(Buffer.from(bytes ?? []).equals(Buffer.alloc(20_000, number))).toBe(true);
  }
  expect(logger.lines).toEqual([]);
  await store.close();
});
