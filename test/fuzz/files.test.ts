// Files of strangers: checkpoints and settings. Each is read, or refused by the error that is meant for it.

import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { resolveSettings } from "../../src/cli/settings.ts";
import { UsageError } from "../../src/cli/usage-error.ts";
import { parseConfig } from "../../src/vlm/checkpoint/config.ts";
import { parseGenerationConfig } from "../../src/vlm/checkpoint/generation-config.ts";
import { parseImageProcessorConfig } from "../../src/vlm/checkpoint/processor-config.ts";
import { Safetensors } from "../../src/vlm/checkpoint/safetensors.ts";
import { ModelLoadError } from "../../src/vlm/errors.ts";
import { root } from "../support/book.ts";
import { damaged, disturbed, effort, holds } from "../support/fuzz.ts";
import { safetensorsHeader } from "../support/synthetic-checkpoint.ts";
import { tempDir } from "../support/temp-dir.ts";

let directory: string;
beforeAll(async () => {
  directory = await tempDir();
});

const tinyChat = (file: string): unknown =>
  JSON.parse(readFileSync(root(`examples/tiny-chat/${file}`), "utf8"));

/** Runs what may refuse with one kind of error, and with no other. */
function readsOrRefuses(read: () => unknown, refusal: new (...args: never[]) => Error): void {
  try {
    read();
  } catch (error) {
    expect(error).toBeInstanceOf(refusal);
    expect((error as Error).message.length).toBeLessThan(2000);
  }
}

describe("a header of safetensors", () => {
  const tensors = fc.array(
    fc.record({
      shape: fc.array(fc.nat(4), { maxLength: 4 }),
      begin: fc.integer({ min: -4, max: 80 }),
      end: fc.integer({ min: -4, max: 80 }),
      dtype: fc.constantFrom("F32", "BF16", "F16", "I64", "F8_E4M3", "nonsense"),
    }),
    { maxLength: 4 },
  );

  async function opens(bytes: Uint8Array): Promise<void> {
    await writeFile(join(directory, "x.safetensors"), bytes);
    let weights: Safetensors;
    try {
      weights = await Safetensors.open(directory, ["x.safetensors"]);
    } catch (error) {
      expect(error).toBeInstanceOf(ModelLoadError);
      return;
    }
    // What was taken can be read to its last byte.
    for (const tensor of weights.tensors.values()) {
      await weights.read(tensor, 0, new Uint8Array(tensor.byteLength));
    }
    await weights.close();
  }

  it("with any tensors opens, with every byte there, or is refused", async () => {
    await holds(
      fc.asyncProperty(tensors, fc.nat(80), async (list, dataBytes) => {
        const header = Object.fromEntries(
          list.map(({ dtype, shape, begin, end }, index) => [
            `t${index}`,
            { dtype, shape, data_offsets: [begin, end] },
          ]),
        );
        const head = safetensorsHeader(JSON.stringify(header));
        await opens(Buffer.concat([head, new Uint8Array(dataBytes)]));
      }),
      200,
    );
  });

  it("that is damaged opens or is refused", async () => {
    const header = { a: { dtype: "F32", shape: [2], data_offsets: [0, 8] } };
    const whole = Buffer.concat([safetensorsHeader(JSON.stringify(header)), new Uint8Array(8)]);
    await holds(fc.asyncProperty(damaged(whole), opens), 200);
  });
});

describe("a file of a checkpoint", () => {
  it.each([
    ["config.json", (json: unknown) => parseConfig(json, "config.json")],
    [
      "generation_config.json",
      (json: unknown) =>
        parseGenerationConfig(json, "generation_config.json", { eosTokenIds: [1] }),
    ],
    [
      "preprocessor_config.json",
      (json: unknown) => parseImageProcessorConfig({ preprocessor: json }),
    ],
  ])("%s with anything in it is read or refused", (file, parse) => {
    const json = tinyChat(file);
    fc.assert(
      fc.property(fc.oneof(disturbed(json), fc.jsonValue()), (value) => {
        readsOrRefuses(() => parse(value), ModelLoadError);
      }),
      effort(1000),
    );
  });
});

describe("a file of settings", () => {
  const settings = {
    model: "./model",
    device: "cpu",
    precision: "w8a8",
    host: "127.0.0.1",
    port: 9999,
    napcat: "ws://127.0.0.1:3001",
    napcatToken: "secret",
    imageHosts: ["img.example.com"],
    debugToken: "0123456789abcdef",
  };

  it("with anything in it is read or refused", async () => {
    const file = join(directory, "bot.json");
    const contents = fc.oneof(
      disturbed(settings).map((json) => JSON.stringify(json)),
      fc.string(),
      fc.json(),
    );
    await holds(
      fc.asyncProperty(contents, async (text) => {
        await writeFile(file, text);
        readsOrRefuses(() => resolveSettings({ config: file }, {}), UsageError);
      }),
      300,
    );
  });
});
