// Models of several files, converted while they come: the same package as of the whole checkpoint, whatever ends the
// process; and how much of the disk it takes.

import { readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { disk } from "../../../src/disk.ts";
import { openCheckpoint } from "../../../src/vlm/checkpoint/open-checkpoint.ts";
import { ConversionPlan, SMALL_FILES_BYTES } from "../../../src/vlm/convert/conversion-plan.ts";
import { peakBytes } from "../../../src/vlm/convert/peak-bytes.ts";
import { pull } from "../../../src/vlm/hub/pull.ts";
import type { PulledModel, PullOptions } from "../../../src/vlm/hub/pull-options.ts";
import type { PullProgress } from "../../../src/vlm/hub/pull-progress.ts";
import { bytesBelow, filesBelow } from "../../support/files-below.ts";
import { formatFixture, quantizedCheckpoint } from "../../support/format-fixture.ts";
import { goldenCheckpoint } from "../../support/golden-checkpoint.ts";
import { filesOf, inShards, tinyChatFiles } from "../../support/model-files.ts";
import {
  type ModelHub,
  type ModelHubOptions,
  sendPart,
  startModelHub,
} from "../../support/model-hub.ts";
import { syntheticCheckpoint } from "../../support/synthetic-checkpoint.ts";
import { tempDir } from "../../support/temp-dir.ts";

type Files = Readonly<Record<string, Buffer>>;

let dir: string;
let hub: ModelHub;
beforeEach(async () => {
  dir = await tempDir();
});
afterEach(() => {
  vi.restoreAllMocks();
  return hub?.close();
});

async function serve(options: ModelHubOptions): Promise<ModelHub> {
  // Otherwise the weights of the smallest models would lie among the small files.
  hub = await startModelHub({ largeFrom: 3_000, ...options });
  return hub;
}

/** @param name of the directory for all models of this pull */
function pulled(name: string, options: Partial<PullOptions> = {}): Promise<PulledModel> {
  return pull(
    {
      model: hub.model,
      modelsDir: join(dir, name),
      env: { HF_ENDPOINT: hub.url, HF_HOME: join(dir, "hf"), MODELSCOPE_CACHE: join(dir, "ms") },
      onWarning: () => {},
      precision: "w8a8",
      ...options,
    },
    { pauseMs: 1, patienceMs: 60_000 },
  );
}

const modelDir = (name: string) => join(dir, name, "models--Test--Tiny");
const workDir = (name: string) => join(modelDir(name), ".coming");

/** Byte for byte, and nothing beside it. */
function expectSame(path: string, other: string): void {
  expect(readdirSync(path)).toEqual(readdirSync(other));
  for (const name of readdirSync(path)) {
    const same = readFileSync(join(path, name)).equals(readFileSync(join(other, name)));
    expect(same, name).toBe(true);
  }
}

const weightsOf = (files: Files) =>
  Object.entries(files).filter(([name]) => name.endsWith(".safetensors"));
const tensorsSent = () => [...hub.sent].filter(([name]) => name.endsWith(".safetensors"));
const backwards = (names: readonly string[]) => names.toReversed();
const byName = (names: readonly string[]) => names.toSorted();
/** Neighbours far from each other. */
const dealt = (names: readonly string[]) =>
  [0, 1, 2].flatMap((hand) => names.filter((_, i) => i % 3 === hand));

const CHECKPOINTS: Readonly<Record<string, () => Promise<Files>>> = {
  "tiny-chat": async () => tinyChatFiles(),
  "odd sizes": async () => filesOf(await syntheticCheckpoint(join(dir, "odd"))),
  "tied embeddings": async () => filesOf(await goldenCheckpoint("tiny-tied", dir)),
  "a head of its own": async () => filesOf(await goldenCheckpoint("tiny-untied", dir)),
  FP8: async () => filesOf(await quantizedCheckpoint(dir, await formatFixture("fp8"))),
};

describe("a model of several files", () => {
  it.each([
    ["tiny-chat", 4, "w8a8", undefined],
    ["tied embeddings", 2, "q4", undefined],
    ["tied embeddings", 5, "fp32", backwards],
    ["a head of its own", 5, "w8a8", byName],
    ["a head of its own", 3, "q4f16", dealt],
    ["odd sizes", 7, "w8a8", backwards],
    ["odd sizes", 3, "fp16", undefined],
    ["FP8", 4, "w8a8", dealt],
  ] as const)(
    "becomes the same package while it comes: %s in %i files, %s",
    async (name, count, precision, inOrder) => {
      const files = inShards((await CHECKPOINTS[name]?.()) ?? {}, count, inOrder);
      await serve({ files });
      const whole = await pulled("whole", { keepCheckpoint: true, precision });
      hub.sent.clear();
      const coming = await pulled("coming", { precision });
      expectSame(coming.path, whole.path);
      expect(readdirSync(modelDir("coming")).toSorted()).toEqual(
        [precision, "model.json"].toSorted(),
      );
      expect(coming.checkpointDir).toBeUndefined();
      // Every file came once, its header before the rest of it.
      expect(tensorsSent()).toHaveLength(count);
      for (const [file, bytes] of tensorsSent()) {
        const size = files[file]?.byteLength ?? 0;
        expect(bytes, file).toBeGreaterThanOrEqual(size);
        expect(bytes, file).toBeLessThan(2 * size); // a busy machine may break a connection off
      }
    },
  );

  it("never takes more of the disk than one package, one file and what is split between files", async () => {
    const files = inShards(tinyChatFiles(), 8);
    await serve({ files });
    let most = 0;
    const { path } = await pulled("coming", {
      onProgress: () => {
        most = Math.max(most, bytesBelow(join(dir, "coming")));
      },
    });
    const shards = weightsOf(files).map(([, { byteLength }]) => byteLength);
    const settings = 400_000; // the small files twice, heads and marks
    const split = 1_100_000; // a layer between two files
    expect(shards.reduce((sum, bytes) => sum + bytes)).toBeGreaterThan(8_000_000);
    expect(most).toBeLessThan(bytesBelow(path) + Math.max(...shards) + settings + split);
    // And not a byte of it is left.
    expect(bytesBelow(join(dir, "coming"))).toBeLessThan(bytesBelow(path) + 10_000);
  });

  it.each([undefined, byName, dealt])(
    "takes no more than is asked for before: %o",
    async (inOrder) => {
      const files = inShards(tinyChatFiles(), 4, inOrder);
      await serve({ files });
      const whole = await pulled("whole", { convert: false });
      const checkpoint = await openCheckpoint(whole.path);
      const formats = { precision: { decoder: "w8a8", vision: "w8a8" }, device: "cpu" } as const;
      const rooms = new Map(
        weightsOf(files).map(([name, { byteLength }]) => [
          name,
          { toCome: byteLength, comesBack: byteLength },
        ]),
      );
      const nothing = { kept: [], taken: [] };
      const counted = await peakBytes(new ConversionPlan(checkpoint, formats), rooms, nothing);
      await checkpoint.close();
      const all = weightsOf(files).reduce((sum, [, { byteLength }]) => sum + byteLength, 0);
      let most = 0;
      const { path } = await pulled("coming", {
        onProgress: () => {
          most = Math.max(most, bytesBelow(join(dir, "coming")));
        },
      });
      expect(counted).toBeGreaterThan(bytesBelow(path));
      expect(counted).toBeLessThan(bytesBelow(path) + 0.7 * all);
      expect(most).toBeLessThan(counted + 400_000);
    },
  );

  it.each(["tiny-chat", "a head of its own"] as const)(
    "goes on from every place where it was ended: %s",
    async (name) => {
      const files = inShards((await CHECKPOINTS[name]?.()) ?? {}, 4, dealt);
      await serve({ files });
      const whole = await pulled("whole", { keepCheckpoint: true });
      let ended = 0;
      let path: string | undefined;
      for (let events = 3; path === undefined; events += 3) {
        const aborter = new AbortController();
        let seen = 0;
        const onProgress = () => {
          seen++;
          if (seen >= events) aborter.abort(new Error("enough"));
        };
        const pulling = pulled("coming", { onProgress, signal: aborter.signal });
        path = await pulling.then(
          (model) => model.path,
          (error: Error) => {
            if (error.message !== "enough") throw error;
            return undefined;
          },
        );
        ended++;
      }
      expect(ended).toBeGreaterThan(5);
      expectSame(path, whole.path);
      for (const [file, bytes] of tensorsSent()) {
        expect(bytes, file).toBeLessThan(3 * (files[file]?.byteLength ?? 0) + 2 ** 17);
      }
    },
  );

  /** Ends a pull in its second half. */
  async function half(name: string): Promise<void> {
    const aborter = new AbortController();
    const pulling = pulled(name, {
      signal: aborter.signal,
      onProgress: (progress) => {
        if (progress.type !== "convert") return;
        if (progress.doneBytes > 0.6 * progress.totalBytes) aborter.abort(new Error("enough"));
      },
    });
    await expect(pulling).rejects.toThrow("enough");
  }

  it.each([
    ["is another file", "decoder.onnx.data", (path: string) => flip(path)],
    ["is cut short", "decoder.onnx.data", (path: string) => truncateSync(path, 1_000)],
    ["says nonsense", "mark.json", (path: string) => writeFileSync(path, '{"formatVersion":1}')],
    ["was for something else", "key.json", (path: string) => writeFileSync(path, "{}")],
    ["is damaged", ".tensor", (path: string) => flip(path)],
    ["is another", ".head", (path: string) => flip(path)],
  ])("is right although what an earlier pull left %s: %s", async (_, ending, damage) => {
    await serve({ files: inShards(tinyChatFiles(), 4, dealt) });
    const whole = await pulled("whole", { keepCheckpoint: true });
    await half("coming");
    const names = readdirSync(workDir("coming"), { recursive: true, encoding: "utf8" });
    const found = names.filter((name) => name.endsWith(ending));
    expect(found.length).toBeGreaterThan(0);
    for (const name of found) damage(join(workDir("coming"), name));
    expectSame((await pulled("coming")).path, whole.path);
  });

  it("goes on in the format it began with, unless another is asked for", async () => {
    await serve({ files: inShards(tinyChatFiles(), 4) });
    const aborter = new AbortController();
    const pulling = pulled("coming", {
      precision: "q4",
      signal: aborter.signal,
      onProgress: ({ type }) => {
        if (type === "convert") aborter.abort(new Error("enough"));
      },
    });
    await expect(pulling).rejects.toThrow("enough");
    const resumed = pull(
      {
        model: hub.model,
        modelsDir: join(dir, "coming"),
        env: { HF_ENDPOINT: hub.url, HF_HOME: join(dir, "hf") },
      },
      { pauseMs: 1 },
    );
    expect((await resumed).path).toBe(join(modelDir("coming"), "q4"));
    expect((await pulled("coming", { precision: "fp32" })).path).toBe(
      join(modelDir("coming"), "fp32"),
    );
  });

  it("needs room for its fullest moment, not for all of its files", async () => {
    const files = inShards(tinyChatFiles(), 4);
    await serve({ files });
    const plans: Extract<PullProgress, { type: "plan" }>[] = [];
    const onProgress = (progress: PullProgress) => {
      if (progress.type === "plan") plans.push(progress);
    };
    const { path } = await pulled("whole", { keepCheckpoint: true, onProgress });
    await pulled("coming", { onProgress });
    const [all, inTurn] = plans;
    expect(all).toMatchObject({ oneByOne: false, files: 4 });
    expect(inTurn).toMatchObject({ oneByOne: true, files: 4, totalBytes: all?.totalBytes });
    expect(inTurn?.diskBytes).toBeLessThan(0.8 * (all?.diskBytes ?? 0));
    const enough = (inTurn?.diskBytes ?? 0) + SMALL_FILES_BYTES;
    const free = vi.spyOn(disk, "freeBytes");
    free.mockResolvedValue(enough - 1);
    hub.sent.clear();
    await expect(pulled("other")).rejects.toMatchObject({
      code: "disk-full",
      neededBytes: enough,
    });
    const fetched = tensorsSent().reduce((sum, [, bytes]) => sum + bytes, 0);
    expect(fetched).toBeLessThanOrEqual(4 * 2 ** 16);
    free.mockResolvedValue(enough);
    expectSame((await pulled("other")).path, path);
  });

  it.each([0, 1, 8, 1_000, 65_535, 65_536, 300_000])(
    "loses nothing when the first connections for each file break off %i bytes in",
    async (most) => {
      const files = inShards(tinyChatFiles(), 3);
      await serve({ files });
      const whole = await pulled("whole", { keepCheckpoint: true });
      hub.sent.clear();
      const broken: string[] = [];
      hub.fault = (exchange) => {
        const { place, file } = exchange;
        const times = broken.filter((each) => each === file).length;
        if (place !== "cdn" || !file.endsWith(".safetensors") || times === 3) return false;
        broken.push(file);
        sendPart(exchange, "206", most);
        return true;
      };
      expectSame((await pulled("coming")).path, whole.path);
      expect(broken).toHaveLength(9);
    },
  );

  it("ends at a file with wrong bytes, keeps what was converted, and goes on when the hub is mended", async () => {
    const files = inShards(tinyChatFiles(), 4);
    await serve({ files });
    const whole = await pulled("whole", { keepCheckpoint: true });
    const [name = "", shard = Buffer.alloc(0)] = weightsOf(files)[1] ?? [];
    const wrong = Buffer.from(shard);
    wrong[wrong.byteLength - 1] = (wrong[wrong.byteLength - 1] ?? 0) ^ 1;
    hub.fault = (exchange) => {
      if (exchange.place !== "cdn" || exchange.file !== name) return false;
      sendPart({ ...exchange, data: wrong });
      return true;
    };
    await expect(pulled("coming")).rejects.toMatchObject({ code: "wrong-bytes", file: name });
    hub.fault = undefined;
    hub.sent.clear();
    expectSame((await pulled("coming")).path, whole.path);
    // The first file had been converted, and did not come again.
    expect(hub.sent.has(weightsOf(files)[0]?.[0] ?? "")).toBe(false);
  });

  it("goes on at another hub with what one hub began", async () => {
    const files = inShards(tinyChatFiles(), 4);
    await serve({ files });
    const whole = await pulled("whole", { keepCheckpoint: true });
    const other = await startModelHub({ files, largeFrom: 3_000 });
    const [first = "", last = ""] = [weightsOf(files)[0]?.[0], weightsOf(files)[3]?.[0]];
    hub.fault = ({ place, file, request, response }) => {
      const isHead = request.headers.range === "bytes=0-65535";
      if (place !== "cdn" || file !== last || isHead) return false;
      response.writeHead(500).end();
      return true;
    };
    const env = { HF_ENDPOINT: hub.url, MODELSCOPE_ENDPOINT: other.url, HF_HOME: join(dir, "hf") };
    await expect(pulled("coming", { hub: "hf", env })).rejects.toMatchObject({
      code: "hub-unreachable",
    });
    const resumed = pulled("coming", { hub: "modelscope", env }).finally(() => other.close());
    expectSame((await resumed).path, whole.path);
    expect(other.sent.has(last)).toBe(true);
    expect(other.sent.has(first)).toBe(false);
  });

  it("is found finished by the next pull when the process ended before it could note that", async () => {
    await serve({ files: inShards(tinyChatFiles(), 3) });
    const first = await pulled("coming");
    const record = join(modelDir("coming"), "model.json");
    writeFileSync(join(modelDir("coming"), "pull.json"), readFileSync(record));
    writeFileSync(record, "");
    hub.sent.clear();
    expect((await pulled("coming")).path).toBe(first.path);
    expect(tensorsSent()).toEqual([]);
  });
});

describe("a model that has to be whole first", () => {
  /** Were two files of weights here at once? */
  async function comesWhole(options: Partial<PullOptions> = {}): Promise<boolean> {
    let most = 0;
    await pulled("coming", {
      ...options,
      onProgress: () => {
        const names = filesBelow(modelDir("coming")).map(({ path }) => path);
        most = Math.max(most, names.filter((name) => name.endsWith(".safetensors")).length);
      },
    });
    return most > 1;
  }

  it("is one whose files are kept", async () => {
    await serve({ files: inShards(tinyChatFiles(), 3) });
    expect(await comesWhole({ keepCheckpoint: true })).toBe(true);
  });

  it("is one of a hub that sends no parts of files", async () => {
    await serve({ files: inShards(tinyChatFiles(), 3), ranges: "none" });
    expect(await comesWhole()).toBe(true);
    for (const [, bytes] of tensorsSent()) expect(bytes).toBeGreaterThan(0);
  });

  it.each(["gptq-act-order", "awq", "packed-groups"])(
    "is one whose 4-bit weights show their form in their contents: %s",
    async (format) => {
      const quantized = await quantizedCheckpoint(dir, await formatFixture(format));
      await serve({ files: inShards(filesOf(quantized), 3) });
      expect(await comesWhole()).toBe(true);
      // And they keep their levels where nobody asks for anything else.
      const kept = () =>
        pull({ model: hub.model, modelsDir: join(dir, "kept"), env: { HF_ENDPOINT: hub.url } });
      expect((await kept()).path).toBe(join(modelDir("kept"), "q4"));
      expect(await kept()).toMatchObject({ wasHere: true });
    },
  );

  it("is one that says wrong things in the headers, and ends before anything large is fetched", async () => {
    const files = inShards(tinyChatFiles(), 3);
    const [name = "", shard = Buffer.alloc(0)] = weightsOf(files)[1] ?? [];
    await serve({ files: { ...files, [name]: shard.subarray(0, shard.byteLength - 10) } });
    await expect(pulled("coming")).rejects.toThrow(`${name} is truncated`);
    const total = tensorsSent().reduce((sum, [, bytes]) => sum + bytes, 0);
    expect(total).toBeLessThan(300_000);
  });

  it("is not begun by a head that somebody changed on the way: the file has the word", async () => {
    const files = inShards(tinyChatFiles(), 3);
    const [name = "", shard = Buffer.alloc(0)] = weightsOf(files)[2] ?? [];
    const changed = Buffer.from(shard);
    const at = shard.indexOf("BF16");
    changed.write("F16 ", at);
    const lie = Buffer.concat([
      changed.subarray(0, at),
      Buffer.from('F16" '),
      shard.subarray(at + 5),
    ]);
    await serve({ files });
    let lied = 0;
    hub.fault = (exchange) => {
      if (exchange.place !== "cdn" || exchange.file !== name || lied > 0) return false;
      lied++;
      sendPart({ ...exchange, data: lie });
      return true;
    };
    const whole = await pulled("whole", { keepCheckpoint: true });
    lied = 0;
    expectSame((await pulled("coming")).path, whole.path);
    expect(lied).toBe(1);
  });
});

/** Changes one bit near the end. */
function flip(path: string): void {
  const bytes = readFileSync(path);
  const at = Math.floor(bytes.byteLength * 0.5);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(path, bytes);
}
