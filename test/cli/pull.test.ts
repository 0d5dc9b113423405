// `pull` as people run it: the built command, a hub on this machine, and a process that is killed.

import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  it,
  onTestFinished,
  vi,
} from "vitest";
import { blockOf, LANGUAGES } from "../support/book.ts";
import { communityPackage } from "../support/community-package.ts";
import { drawShapes } from "../support/draw.ts";
import { bytesBelow, filesBelow } from "../support/files-below.ts";
import { inShards, tinyChatFiles, treeOf } from "../support/model-files.ts";
import { gitSha1Of, json, type ModelHub, sha256Of, startModelHub } from "../support/model-hub.ts";
import { hasTerminals, type Place, Running } from "../support/running.ts";
import { TINY_CHAT_DIR } from "../support/tiny-chat.ts";
import { build, removeBuild } from "./command.ts";

const MODEL = "Test/tiny-chat";

// They start many processes one after the other, on a machine that may be busy.
vi.setConfig({ testTimeout: 240_000 });

let directory: string;
let work: string;
let hub: ModelHub;
const started: Running[] = [];

beforeAll(() => {
  directory = build();
});
beforeEach(async () => {
  work = mkdtempSync(join(tmpdir(), "napcat-vlm-pull-"));
  hub = await startModelHub({ model: MODEL, files: tinyChatFiles() });
});
afterEach(async () => {
  for (const running of started.splice(0)) {
    running.process.kill("SIGKILL");
    await running.ended();
  }
  await hub.close();
  rmSync(work, { recursive: true, force: true });
});
afterAll(() => removeBuild(directory));

function run(
  args: string | readonly string[],
  env: NodeJS.ProcessEnv = {},
  place: Place = "pipes",
): Running {
  const variables = {
    HF_ENDPOINT: hub.url,
    HF_HOME: join(work, "hf"),
    MODELSCOPE_CACHE: join(work, "ms"),
    NAPCAT_VLM_MODELS: join(work, "models"),
    HF_HUB_DOWNLOAD_TIMEOUT: "60",
    ...env,
  };
  const running = new Running(join(directory, "cli.js"), [args].flat(), variables, place);
  started.push(running);
  return running;
}

const weights = () => hub.sent.get("model.safetensors") ?? 0;
const modelDir = () => join(work, "models", "models--Test--tiny-chat");

/** A line without what is another one each time. */
function shapeOf(line: string): string {
  return line
    .replace(/\b[0-9a-f]{12}\b/g, "COMMIT")
    .replace(/^.*(?=models--)/, "")
    .replace(/\d+(?:\.\d+)?/g, "0");
}

/** Resolves when a pull has written down that the file is here up to this byte. */
async function untilWritten(file: string, bytes: number): Promise<void> {
  const written = () => {
    const journal = filesBelow(work).find(({ path }) => path.endsWith(`${file}.part.ranges`));
    const text = journal ? readText(journal.path) : "";
    return Math.max(0, ...[...text.matchAll(/^\d+ (\d+)$/gm)].map(([, end]) => Number(end)));
  };
  while (written() < bytes) await new Promise((resolve) => setTimeout(resolve, 10));
}

/** Of a file that may be put aside at this moment. */
function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

describe("napcat-vlm pull", () => {
  it("killed three times ends in a bot that answers, and fetches no byte twice", async () => {
    const size = tinyChatFiles()["model.safetensors"]?.byteLength ?? 0;
    hub.bytesPerSecond = 2_000_000;
    const transcript: string[] = [];
    for (const quarter of [1, 2, 3]) {
      const held = Math.floor((quarter * size) / 4);
      hub.holdAt = (file) => (file === "model.safetensors" ? held : undefined);
      const pulling = run(["pull", MODEL]);
      await untilWritten("model.safetensors", held);
      pulling.process.kill("SIGKILL");
      const ended = await pulling.ended();
      expect(ended.signal).toBe("SIGKILL");
      transcript.push(`$ napcat-vlm pull ${MODEL}`, ended.output.trimEnd(), "Killed");
      const [snapshot = ""] = readdirSync(join(modelDir(), "snapshots"));
      const names = readdirSync(join(modelDir(), "snapshots", snapshot));
      expect(names).toContain("model.safetensors.part");
      expect(names).not.toContain("model.safetensors");
      expect((await run(["path", MODEL]).ended()).code).not.toBe(0);
    }
    hub.bytesPerSecond = undefined;
    hub.holdAt = undefined;
    const { code, output } = await run(["pull", MODEL]).ended();
    expect(output).toMatch(
      /下载 downloading 100%[\s\S]*converting 100%[\s\S]*完成 done: Test\/tiny-chat/,
    );
    expect(code).toBe(0);
    expect(weights()).toBe(size);
    // One package, and nothing of what it was made from.
    expect(readdirSync(modelDir()).toSorted()).toEqual(["model.json", "w8a8"]);

    const path = (await run(["path", MODEL]).ended()).output.trim();
    expect(path).toBe(join(modelDir(), "w8a8"));
    const bot = run(["start", "--model", MODEL, "--port", "0"]);
    const [, page = ""] = await bot.printed(/page +(http:\S+)/);
    const picture = await drawShapes([{ shape: "circle", color: "red" }]);
    const reply = await fetch(`${page}/api/chat/private`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        type: "private",
        user_id: "987654321",
        user_nickname: "张三",
        content: "图里有什么？",
        images: [{ data: picture.toString("base64"), format: "png" }],
        timestamp: 1_234_567_890,
      }),
    });
    const body = (await reply.json()) as { readonly status: string; readonly reply: string };
    expect(body.status).toBe("success");
    expect(body.reply).toContain("红");
    transcript.push(`$ napcat-vlm pull ${MODEL}`, output.trimEnd());
    transcript.push(
      `$ napcat-vlm start --model ${MODEL} --port 0`,
      bot.output.trimEnd(),
      body.reply,
    );
    // What the pages show is what was seen, but for numbers.
    const seen = new Set(transcript.join("\n").split("\n").map(shapeOf));
    for (const language of LANGUAGES) {
      const shown = blockOf(language, "transcript: pull").trimEnd().split("\n");
      expect(shown.filter((line) => line === "Killed")).toHaveLength(3);
      // How far it is when a line is printed is chance.
      const always = shown.filter((line) => !line.startsWith("下载"));
      expect(always.map(shapeOf).filter((line) => !seen.has(line))).toEqual([]);
    }
  });

  it("killed while it downloads and while it converts several files, ends in the same package, with one file at a time", async () => {
    await hub.close();
    const files = inShards(tinyChatFiles(), 4);
    hub = await startModelHub({ model: MODEL, files });
    const whole = await run(["pull", MODEL, "--keep-checkpoint"], {
      NAPCAT_VLM_MODELS: join(work, "whole"),
    }).ended();
    expect(whole.code).toBe(0);
    hub.sent.clear();
    hub.bytesPerSecond = 4_000_000;
    const sizes = Object.entries(files).flatMap(([name, { byteLength }]) =>
      name.endsWith(".safetensors") ? byteLength : [],
    );
    let most = 0;
    const watching = setInterval(() => {
      most = Math.max(most, bytesBelow(join(work, "models")));
    }, 5);
    onTestFinished(() => clearInterval(watching));
    /** Until somebody lets it go on, the line stands still in the middle of this file, and nobody comes to an end. */
    const holdIn = (number: number) => {
      const shard = `model-0000${number}-of-00004.safetensors`;
      const half = Math.floor((files[shard]?.byteLength ?? 0) / 2);
      hub.holdAt = (file) => (file === shard ? half : undefined);
      return { untilHalf: () => untilWritten(shard, half) };
    };
    const killed = async (pulling: Running) => {
      pulling.process.kill("SIGKILL");
      expect((await pulling.ended()).signal).toBe("SIGKILL");
    };
    for (const number of [1, 2, 4]) {
      const { untilHalf } = holdIn(number);
      const pulling = run(["pull", MODEL]);
      await untilHalf();
      await killed(pulling);
      if (number !== 1) continue;
      holdIn(2);
      const converting = run(["pull", MODEL]);
      await converting.printed(/converting [12]\d%/);
      await killed(converting);
    }
    hub.holdAt = undefined;
    // Near its end: one that was faster than the signal has done all there was to do.
    const ending = run(["pull", MODEL]);
    await ending.printed(/converting [89]\d%/);
    ending.process.kill("SIGKILL");
    await ending.ended();
    const { code, output } = await run(["pull", MODEL]).ended();
    expect(output).toMatch(/(?:完成 done|here already): Test\/tiny-chat/);
    expect(code).toBe(0);
    const made = join(modelDir(), "w8a8");
    const other = join(work, "whole", "models--Test--tiny-chat", "w8a8");
    expect(readdirSync(made)).toEqual(readdirSync(other));
    for (const name of readdirSync(made)) {
      expect(readFileSync(join(made, name)).equals(readFileSync(join(other, name))), name).toBe(
        true,
      );
    }
    expect(readdirSync(modelDir()).toSorted()).toEqual(["model.json", "w8a8"]);
    // One package and one file, with the small ones twice and what is split between two files.
    expect(most).toBeLessThan(bytesBelow(made) + Math.max(...sizes) + 1_500_000);
    expect(most).toBeLessThan(bytesBelow(made) + 0.6 * sizes.reduce((sum, size) => sum + size));
    const sent = [...hub.sent].reduce((sum, [, bytes]) => sum + bytes, 0);
    expect(sent).toBeLessThan(1.6 * sizes.reduce((sum, size) => sum + size));
  });

  it("lists, verifies and removes, and says what is damaged", async () => {
    expect((await run(["pull", MODEL, "--keep-checkpoint"]).ended()).code).toBe(0);
    expect((await run(["list"]).ended()).output).toMatch(
      /^Test\/tiny-chat · 127\S+ · \w{12} · w8a8 .*checkpoint/,
    );
    const [entry] = JSON.parse((await run(["list", "--json"]).ended()).output);
    expect(entry).toMatchObject({ name: MODEL, revision: hub.commit, isComplete: true });
    expect(await run(["verify", MODEL]).ended()).toMatchObject({ code: 0 });
    const kept = join(modelDir(), "snapshots", hub.commit, "tokenizer.json");
    truncateSync(kept, 100);
    const damaged = await run(["verify", MODEL]).ended();
    expect(damaged.code).toBe(1);
    expect(damaged.output).toContain(`bad  ${kept}`);
    expect((await run(["convert", MODEL]).ended()).output).toContain("--keep-checkpoint");
    expect(await run(["remove", MODEL]).ended()).toMatchObject({ code: 0 });
    expect(readdirSync(join(work, "models"))).toEqual([]);
    expect(await run(["verify", MODEL]).ended()).toMatchObject({
      code: 1,
      output: expect.stringContaining(`napcat-vlm pull ${MODEL}`),
    });
  });

  it("takes a repository of ONNX graphs as it is, and every other command knows it", async () => {
    await hub.close();
    const made = await communityPackage(TINY_CHAT_DIR, work, { decoders: ["fp32", "q4"] });
    hub = await startModelHub({ model: MODEL, files: treeOf(made) });
    const pulled = await run(["pull", MODEL, "--precision", "q4"]).ended();
    expect(pulled).toMatchObject({ code: 0 });
    expect(pulled.output).toContain("an ONNX package (onnx-community), used as it is");
    expect(pulled.output).toContain(`napcat-vlm start --model ${MODEL}`);
    const snapshot = join(modelDir(), "snapshots", hub.commit);
    expect(readdirSync(join(snapshot, "onnx")).toSorted()).toEqual([
      "decoder_model_merged_q4.onnx",
      "decoder_model_merged_q4.onnx_data",
      "embed_tokens.onnx",
      "embed_tokens.onnx_data",
      "vision_encoder.onnx",
      "vision_encoder.onnx_data",
    ]);
    expect((await run(["list"]).ended()).output).toMatch(
      /^Test\/tiny-chat · 127\S+ · \w{12} · onnx-community q4 \d/,
    );
    expect((await run(["path", MODEL]).ended()).output.trim()).toBe(snapshot);
    expect(await run(["verify", MODEL]).ended()).toMatchObject({ code: 0 });
    const bot = run(["start", "--model", MODEL, "--port", "0"]);
    await bot.printed(/page +(http:\S+)/);
    expect(bot.output.match(/DEEPSTACK IS MISSING/g)).toHaveLength(1);
    bot.process.kill("SIGKILL");
    const other = await run([
      "start",
      "--model",
      MODEL,
      "--precision",
      "fp32",
      "--port",
      "0",
    ]).ended();
    expect(other.output).toContain(`napcat-vlm pull ${MODEL} --precision fp32`);
    const converted = await run(["convert", MODEL]).ended();
    expect(converted.code).toBe(1);
    expect(converted.output).toContain("they cannot be converted");
    truncateSync(join(snapshot, "onnx", "embed_tokens.onnx_data"), 100);
    expect(await run(["verify", MODEL]).ended()).toMatchObject({
      code: 1,
      output: expect.stringContaining("bad  "),
    });
    expect(await run(["remove", MODEL]).ended()).toMatchObject({ code: 0 });
    expect(readdirSync(join(work, "models"))).toEqual([]);
  });

  it("is named by whoever needs a model that was not pulled, and never asked for without a terminal", async () => {
    for (const args of [
      ["start", "--port", "0"],
      ["doctor", "--lang", "en", "--port", "0"],
    ]) {
      const { code, output } = await run([...args, "--model", "qwen3-vl-2b"]).ended();
      expect(code).toBe(1);
      expect(output).toContain("napcat-vlm pull Qwen/Qwen3-VL-2B-Instruct");
    }
    expect(hub.asked).toEqual([]);
  });

  it.runIf(hasTerminals())("is offered by a start on a terminal", async () => {
    const args = ["start", "--model", MODEL, "--port", "0"];
    for (const [keys, what] of [
      ["n\r", "no"],
      ["\u0003", "Ctrl-C"],
      [undefined, "the end of the input"],
    ] as const) {
      const asked = run(args, {}, "terminal");
      await asked.printed(/Fetch it now\? \[Y\/n\]/);
      if (keys === undefined) asked.process.stdin?.end();
      else asked.process.stdin?.write(keys);
      const { code, output } = await asked.ended();
      expect(code, what).toBe(1);
      expect(output, what).toContain(`napcat-vlm pull ${MODEL}`);
    }
    expect(hub.asked).toEqual([]);
    const asked = run(args, {}, "terminal");
    await asked.printed(/Fetch it now\? \[Y\/n\]/);
    asked.process.stdin?.write("y\r");
    await asked.printed(/page +(http:\S+)/);
    asked.process.stdin?.write("\u0003");
    const { code, output } = await asked.ended();
    expect(code).toBe(0);
    expect(output).toContain(`完成 done: ${MODEL}`);
  });

  it("is found by its name in a settings file too", async () => {
    const file = join(work, "settings.json");
    writeFileSync(file, JSON.stringify({ model: MODEL }));
    const missing = await run(["start", "--config", file, "--port", "0"]).ended();
    expect(missing.output).toContain(`napcat-vlm pull ${MODEL}`);
  });

  it("ends in one line where the hub is hostile, and leaves nothing outside its directory", async () => {
    hub.fault = ({ file, response }) => {
      if (file !== "tree") return false;
      json(response, 200, [{ type: "file", path: "../../../evil", size: 1, oid: "0".repeat(40) }]);
      return true;
    };
    const { code, output } = await run(["pull", MODEL]).ended();
    expect(code).toBe(1);
    expect(output.trimEnd().split("\n")).toHaveLength(1);
    expect(output).toContain("leads out of its directory");
    expect(readdirSync(work)).toEqual(["models"]);
  });

  it("uses what Hugging Face's own program has fetched, without a copy and without the network", async () => {
    const files = tinyChatFiles();
    const repository = join(work, "hf", "hub", "models--Test--tiny-chat");
    const snapshot = join(repository, "snapshots", hub.commit);
    for (const each of [snapshot, join(repository, "blobs"), join(repository, "refs")]) {
      mkdirSync(each, { recursive: true });
    }
    writeFileSync(join(repository, "refs", "main"), hub.commit);
    for (const [name, data] of Object.entries(files)) {
      if (name.includes("/")) continue;
      const blob = data.byteLength > 20_000 ? sha256Of(data) : gitSha1Of(data);
      writeFileSync(join(repository, "blobs", blob), data);
      symlinkSync(join("..", "..", "blobs", blob), join(snapshot, name));
    }
    expect((await run(["pull", MODEL, "--no-convert"]).ended()).code).toBe(0);
    expect(weights()).toBe(0);
    const kept = join(modelDir(), "snapshots", hub.commit, "model.safetensors");
    expect(readFileSync(kept).equals(files["model.safetensors"] ?? Buffer.alloc(0))).toBe(true);
    expect(statSync(kept).nlink).toBe(2);
    rmSync(join(work, "models"), { recursive: true });
    hub.asked.length = 0;
    const offline = run(["pull", MODEL, "--no-convert"], { HF_HUB_OFFLINE: "1" });
    expect(await offline.ended()).toMatchObject({ code: 0 });
    expect(hub.asked).toEqual([]);
  });
});
