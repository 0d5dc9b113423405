// Where the libraries of the CUDA provider lie: found when they are whole, and no trouble when nobody may look.

import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import {
  installedProviders,
  providerDirectory,
  providerFiles,
} from "../../../src/vlm/runtime/provider-directory.ts";
import { tempDir } from "../../support/temp-dir.ts";

it("is found when all of its files are there", async () => {
  const cache = await tempDir();
  const directory = providerDirectory("1.2.3", 13, cache);
  mkdirSync(directory, { recursive: true });
  const [first = "", ...others] = providerFiles();
  writeFileSync(join(directory, first), "");
  expect(installedProviders("1.2.3", cache)).toBeUndefined();
  for (const name of others) writeFileSync(join(directory, name), "");
  expect(installedProviders("1.2.3", cache)).toBe(directory);
  expect(installedProviders("1.2.4", cache)).toBeUndefined();
});

// A link to itself can be looked through by nobody, root included. Windows makes links for some people only.
it.skipIf(process.platform === "win32")("is not there where nobody may look", async () => {
  const cache = join(await tempDir(), "cache");
  symlinkSync(cache, cache);
  expect(installedProviders("1.2.3", cache)).toBeUndefined();
});
