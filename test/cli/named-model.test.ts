import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { findNamedModel, findOrPullModel } from "../../src/cli/named-model.ts";
import { tinyChatFiles } from "../support/model-files.ts";
import { type ModelHub, startModelHub } from "../support/model-hub.ts";
import { tempDir } from "../support/temp-dir.ts";

const MODEL = "Test/tiny-chat";
const signal = new AbortController().signal;
const wanted = { model: MODEL, device: "cpu", precision: undefined } as const;

let dir: string;
let hub: ModelHub;
beforeEach(async () => {
  dir = await tempDir();
  hub = await startModelHub({ model: MODEL, files: tinyChatFiles() });
  vi.stubEnv("NAPCAT_VLM_MODELS", join(dir, "models"));
  vi.stubEnv("HF_ENDPOINT", hub.url);
  vi.stubEnv("HF_HOME", join(dir, "hf"));
  vi.stubEnv("MODELSCOPE_CACHE", join(dir, "ms"));
  vi.spyOn(process.stdout, "write").mockReturnValue(true);
});
afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  await hub.close();
});

describe("the model that is named", () => {
  it("is pulled when somebody says yes, and found from then on, in the form that is wanted", async () => {
    const asked: string[] = [];
    const yes = async (name: string) => asked.push(name) > 0;
    const path = await findOrPullModel(wanted, signal, yes);
    expect(path).toBe(join(dir, "models", "models--Test--tiny-chat", "w8a8"));
    expect(await findOrPullModel(wanted, signal, yes)).toBe(path);
    expect(asked).toEqual([MODEL]);
    const q4 = findNamedModel({ ...wanted, precision: "q4" });
    await expect(q4).rejects.toMatchObject({ code: "not-pulled" });
    await expect(q4).rejects.toThrow(`napcat-vlm pull ${MODEL} --precision q4`);
  });

  it("is not pulled when somebody says no", async () => {
    const pulling = findOrPullModel(wanted, signal, async () => false);
    await expect(pulling).rejects.toMatchObject({ code: "not-pulled" });
    expect(hub.asked).toEqual([]);
  });

  it("is a directory where one has that name, and whatever no name can be", async () => {
    const here = join(dir, "Qwen3-VL");
    mkdirSync(here);
    expect(await findNamedModel({ ...wanted, model: here })).toBe(here);
    for (const model of ["./nothing", "/nothing", "openai:http://127.0.0.1:8000/v1#name"]) {
      expect(await findNamedModel({ ...wanted, model })).toBe(model);
    }
  });
});
