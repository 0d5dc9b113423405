// Every check of behaviour can fail: a model that is played does one thing wrong at a time, and exactly that check says so.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { checkBehaviour, type DeviceTrials } from "../../../src/cli/prove/behaviour-checks.ts";
import { Checks } from "../../../src/cli/prove/check.ts";
import { drawnQuestions } from "../../../src/cli/prove/drawn-questions.ts";
import { codeOf, runOutOfMemory, tooLarge } from "../../../src/cli/prove/memory-trials.ts";
import { DeviceError, ModelLoadError } from "../../../src/vlm/errors.ts";
import type { GenerateRequest, LoadOptions } from "../../../src/vlm/index.ts";
import { FakeVisionLanguageModel } from "../../../src/vlm/testing.ts";

const ANSWERS = new Map(
  drawnQuestions().map(({ picture, question, answer }) => [keyOf(picture, question), answer]),
);
const LOST = new DeviceError("device-lost", "The device webgpu was lost.");
const FULL = new DeviceError("device-memory", "The device webgpu has no room.");
/** As ONNX Runtime says it. */
const NO_MEMORY = Object.assign(
  new Error(
    "bfc_arena.cc:360 Failed to allocate memory for requested buffer of size 1125899906842624",
  ),
  { code: "fail" },
);
const SHORT = new ModelLoadError("memory-short", "It does not fit.");

describe("memory that no machine has", () => {
  it("is refused by the CPU, a model and a run that want it, and the process goes on", async () => {
    for (let time = 0; time < 2; time++) {
      const failure = await runOutOfMemory("cpu").catch((error: unknown) => error);
      expect(codeOf(failure, "cpu")).toBe("no memory");
    }
    expect(tooLarge("cpu").code).toBe("memory-short");
    expect(tooLarge("webgpu").options.deviceMemoryBytes).toBe(2 ** 20);
  });

  it("is not mistaken for another failure", () => {
    expect(codeOf(undefined, "cuda")).toBe("none");
    expect(codeOf(new Error("The graph is wrong."), "cpu")).toBe("The graph is wrong.");
    expect(codeOf(NO_MEMORY, "cuda")).toBe(NO_MEMORY.message);
    expect(codeOf(FULL, "cuda")).toBe("device-memory");
  });
});

/** A device on which everything is as it should be, and what a test has it do otherwise. */
class PlayedDevice {
  /** The answer to a question; may wait, block or throw. */
  answer = async (right: string, _request: GenerateRequest): Promise<string> => right;
  reused = 24;
  heedsSignals = true;
  refuses = true;
  loads = 0;
  mayLoad = (_count: number) => true;
  onMemory: () => Promise<void> = async () => {
    throw FULL;
  };
  /** Of the event loop, while nobody asks and while somebody does. */
  gapsMs = [1, 3];
  /** Before two hundred requests, and after them. */
  residentMiB = [100, 163];
  onLoss: "told" | "silent" | "gone" | "unhealthy" = "told";
  #losses = 0;
  #lost = false;

  readonly trials: DeviceTrials = {
    load: async (options) => this.#load(options),
    runOutOfMemory: () => this.onMemory(),
    lose: async () => {
      this.#lost = this.onLoss !== "silent";
      this.#losses++;
    },
    watch: async (work) => {
      const longestMs = this.gapsMs.shift()!;
      const gaps = { longestMs, longestOwnMs: undefined, over20Ms: 0 };
      return { result: await work(), gaps, peakRss: 0 };
    },
    residentBytes: () => 2 ** 20 * this.residentMiB.shift()!,
  };

  #load({ deviceMemoryBytes, prefixCacheBytes }: LoadOptions) {
    const isTooLarge = deviceMemoryBytes !== undefined || prefixCacheBytes !== undefined;
    if (isTooLarge && this.refuses) throw deviceMemoryBytes === undefined ? SHORT : FULL;
    if (!this.mayLoad(++this.loads)) throw new Error("It cannot be loaded.");
    return new PlayedModel(
      (request) => this.#answer(request),
      () => ({ state: this.onLoss === "unhealthy" ? "reloading" : "ready", losses: this.#losses }),
      this,
    );
  }

  async #answer(request: GenerateRequest): Promise<string> {
    if (this.#lost) {
      this.#lost = this.onLoss === "gone";
      throw LOST;
    }
    const content = request.messages[0]!.content;
    if (typeof content === "string") throw new Error("Expected a picture");
    const [picture, text] = content;
    if (picture?.type !== "image" || text?.type !== "text") throw new Error("Expected a picture");
    return this.answer(ANSWERS.get(keyOf(picture.data, text.text))!, request);
  }
}

class PlayedModel extends FakeVisionLanguageModel {
  readonly #device: PlayedDevice;

  constructor(
    answer: (request: GenerateRequest) => Promise<string>,
    health: () => { state: "ready" | "reloading"; losses: number },
    device: PlayedDevice,
  ) {
    super({
      answer,
      health: () => ({ ...health(), reason: "played", nextAttemptMs: 0 }) as never,
    });
    this.#device = device;
  }

  override async generate(request: GenerateRequest) {
    const result = await super.generate(request);
    return { ...result, cache: { ...result.cache, promptTokens: this.#device.reused } };
  }

  override stream(request: GenerateRequest) {
    const { signal: _, ...others } = request;
    return super.stream(this.#device.heedsSignals ? request : others);
  }
}

function keyOf(picture: Uint8Array, question: string): string {
  return `${question}${Buffer.from(picture).toString("base64")}`;
}

beforeEach(() => void vi.spyOn(process.stdout, "write").mockReturnValue(true));
afterEach(() => vi.restoreAllMocks());

/** Names of the checks that fail, and of all. */
async function checkOn(kind: "cpu" | "webgpu", device: PlayedDevice, quick = true) {
  const checks = new Checks();
  if (kind === "cpu") {
    const { onMemory } = device;
    device.onMemory = () =>
      onMemory().catch((error) => {
        throw error === FULL ? NO_MEMORY : error;
      });
  }
  await checkBehaviour({
    checks,
    device: kind,
    precision: "fp32",
    directory: "none",
    quick,
    signal: new AbortController().signal,
    trials: device.trials,
  });
  const names = (list: typeof checks.list) => list.map(({ name }) => name.replace(" (fp32)", ""));
  return { failed: names(checks.list.filter(({ ok }) => !ok)), all: names(checks.list) };
}

describe.each(["cpu", "webgpu"] as const)("the checks of behaviour on %s", (kind) => {
  const check = (device: PlayedDevice, quick?: boolean) => checkOn(kind, device, quick);

  it("hold where everything is as it should be, none left out", async () => {
    const { failed, all } = await check(new PlayedDevice(), false);
    expect(failed).toEqual([]);
    expect(all).toEqual([
      "loads the tiny chat model",
      "answers 60 questions about drawn pictures",
      "goes on from what was computed before",
      "stops when it is told to, and answers the next",
      "leaves the event loop free",
      "refuses what does not fit, and goes on",
      "runs out of memory, and goes on",
      "answers 200 requests without growth",
      ...(kind === "cpu" ? [] : ["loses its device, and comes back"]),
      "is disposed of, and loads again",
    ]);
  });

  it("fail where the model cannot be loaded, and nothing more is asked of it", async () => {
    const device = new PlayedDevice();
    device.mayLoad = () => false;
    expect(await check(device)).toEqual({
      failed: ["loads the tiny chat model"],
      all: ["loads the tiny chat model"],
    });
  });

  it("fail where three of sixty answers are wrong", async () => {
    const device = new PlayedDevice();
    let asked = 0;
    device.answer = async (right) => (++asked <= 3 ? "一只猫。" : right);
    expect((await check(device)).failed).toEqual(["answers 60 questions about drawn pictures"]);
    const better = new PlayedDevice();
    asked = 1;
    better.answer = device.answer;
    expect((await check(better)).failed).toEqual([]);
  });

  it("fail where nothing of a prompt is kept", async () => {
    const device = new PlayedDevice();
    device.reused = 0;
    expect((await check(device)).failed).toEqual(["goes on from what was computed before"]);
  });

  it("fail where an answer goes on to its end although it was stopped", async () => {
    const device = new PlayedDevice();
    device.heedsSignals = false;
    expect((await check(device)).failed).toEqual([
      "stops when it is told to, and answers the next",
    ]);
  });

  it("fail where the event loop stands still, more than it does when nobody asks", async () => {
    const device = new PlayedDevice();
    device.gapsMs = [1, 600];
    expect((await check(device)).failed).toEqual(["leaves the event loop free"]);
    const busy = new PlayedDevice();
    busy.gapsMs = [590, 600];
    expect((await check(busy)).failed).toEqual([]);
  });

  it("fail where what cannot fit is loaded all the same", async () => {
    const device = new PlayedDevice();
    device.refuses = false;
    expect((await check(device)).failed).toEqual(["refuses what does not fit, and goes on"]);
  });

  it("fail where memory runs out and nobody is told, or something else is", async () => {
    for (const onMemory of [
      async () => {},
      async () => {
        throw new Error("The graph is wrong.");
      },
    ]) {
      const device = new PlayedDevice();
      device.onMemory = onMemory;
      expect((await check(device)).failed).toEqual(["runs out of memory, and goes on"]);
    }
  });

  it("fail where answers are wrong after memory ran out", async () => {
    const device = new PlayedDevice();
    let wrong = 0;
    const { onMemory } = device;
    device.onMemory = () => {
      wrong = 1;
      return onMemory();
    };
    device.answer = async (right) => (wrong-- > 0 ? "一只猫。" : right);
    expect((await check(device)).failed).toEqual(["runs out of memory, and goes on"]);
  });

  it("fail where two hundred requests leave something behind, or are answered wrongly", async () => {
    const growing = new PlayedDevice();
    growing.residentMiB = [100, 165];
    expect((await check(growing, false)).failed).toEqual(["answers 200 requests without growth"]);
    const tiring = new PlayedDevice();
    let asked = 0;
    tiring.answer = async (right) => (++asked > 100 && asked < 150 ? "一只猫。" : right);
    expect((await check(tiring, false)).failed).toEqual(["answers 200 requests without growth"]);
  });

  it("fail where it cannot be loaded a second time", async () => {
    const device = new PlayedDevice();
    device.mayLoad = (count) => count === 1;
    expect((await check(device)).failed).toEqual(["is disposed of, and loads again"]);
  });
});

it.each(["silent", "gone", "unhealthy"] as const)(
  "the checks of behaviour fail where a device that is lost is %s",
  async (onLoss) => {
    const device = new PlayedDevice();
    device.onLoss = onLoss;
    const { failed } = await checkOn("webgpu", device);
    expect(failed[0]).toBe("loses its device, and comes back");
  },
);
