// What cannot be measured is refused before anything is made.

import { expect, it } from "vitest";
import { bench } from "../../../src/cli/bench/bench.ts";
import { mobiusPackage } from "../../support/mobius-package.ts";
import { tempDir } from "../../support/temp-dir.ts";

const measure = (model: string) =>
  bench(
    {
      size: "nano",
      model,
      precision: undefined,
      threads: undefined,
      computePriority: "normal",
      out: undefined,
    },
    new AbortController().signal,
  );

it("refuses models elsewhere, and says nothing of their address", async () => {
  const failure = await measure("openai:http://127.0.0.1:9/v1#eyes").catch((e) => e);
  expect(failure).toMatchObject({
    name: "UsageError",
    message: expect.stringMatching(/runs elsewhere\.$/),
  });
  expect(failure.message).not.toContain("127.0.0.1");
});

it("refuses packages of other programs", async () => {
  const model = await mobiusPackage("tiny-tied", await tempDir());
  await expect(measure(model)).rejects.toThrow(/was made by another program\.$/);
});
