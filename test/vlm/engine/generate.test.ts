// The loop alone: a real tokenizer and prompt, but a decoder that answers by script and writes down what it is asked.
// The goldens prove decoder and positions apart; here is what the loop makes of them together.

import { beforeAll, describe, expect, it } from "vitest";
import { startDeadline } from "../../../src/abort.ts";
import type { DecodeRow, DecoderInput } from "../../../src/vlm/engine/decoder-backend.ts";
import { Engine, type EngineOptions } from "../../../src/vlm/engine/engine.ts";
import { FeatureCache } from "../../../src/vlm/engine/feature-cache.ts";
import { generate, type ModelParts } from "../../../src/vlm/engine/generate.ts";
import { PrefixCache } from "../../../src/vlm/engine/prefix-cache.ts";
import type { VisionFeatures } from "../../../src/vlm/engine/vision-encoder.ts";
import type { ResolvedRequest } from "../../../src/vlm/request-options.ts";
import type { Tokenizer } from "../../../src/vlm/text/tokenizer.ts";
import type { ChatMessage, StreamPart } from "../../../src/vlm/vision-language-model.ts";
import { userMessage } from "../../support/tiny-chat.ts";
import { loadTinyChat } from "../text/tokenizers.ts";

let tokenizer: Tokenizer;
let eos: readonly number[];
let imagePad: number;
beforeAll(async () => {
  tokenizer = await loadTinyChat();
  eos = ["<|im_end|>", "<|endoftext|>"].map((name) => tokenizer.specialId(name));
  imagePad = tokenizer.specialId("<|image_pad|>");
});

const VOCAB = 1728;
const GREEDY = {
  temperature: 0,
  topP: 1,
  topK: 0,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  seed: 1,
};

/** A picture stands for its grid: file byte 0 is its height and byte 1 its width, both in tokens. */
const picture = (rows: number, columns: number) => Uint8Array.of(rows, columns);

/** Logits of one position: those of a few ids, 0 for all others. */
const scores = (byId: Readonly<Record<number, number>>) => {
  const logits = new Float32Array(VOCAB);
  for (const [id, score] of Object.entries(byId)) logits[Number(id)] = score;
  return logits;
};

interface Run {
  readonly messages?: readonly ChatMessage[];
  /** Logits after the prompt, after the first token, ...; after the last come those again. */
  readonly script: readonly Float32Array[];
  readonly request?: Partial<Omit<ResolvedRequest, "messages">>;
  readonly capacity?: number;
}

/** What the parts of the engine were asked, in order. */
class Recorder {
  readonly encoded: string[] = [];
  readonly prefills: (DecoderInput & { readonly cached: number })[] = [];
  readonly steps: { readonly id: number; readonly position: number }[] = [];
  readonly parts: StreamPart[] = [];

  /** The only prefill. */
  get input() {
    const [input, ...more] = this.prefills;
    if (!input || more.length > 0) throw new Error("not one prefill");
    return input;
  }

  get text(): string {
    return this.parts.map((part) => (part.type === "text-delta" ? part.text : "")).join("");
  }

  get finish() {
    const finish = this.parts.at(-1);
    if (finish?.type !== "finish") throw new Error("no finish part at the end");
    return finish;
  }
}

async function run({ messages, script, request, capacity = 200 }: Run): Promise<Recorder> {
  const record = new Recorder();
  let answered = 0;
  const next = () => script[Math.min(answered++, script.length - 1)];
  const slot = {
    capacity,
    length: 0,
    truncate(length: number) {
      this.length = length;
    },
    dispose() {},
  };
  const engine = new Engine({
    decoder: {
      async append(input: DecoderInput) {
        record.prefills.push({ ...input, cached: slot.length });
        slot.length += input.ids.length;
        return [next()];
      },
      async decode([row]: readonly [DecodeRow]) {
        const { id, position } = row;
        record.steps.push({ id, position });
        slot.length++;
        return [next()];
      },
    },
    slots: { count: 1, capacity, open: () => slot },
    visionEncoder: {
      async encode({ key, imageTokens: tokens }: { key: string; imageTokens: number }) {
        record.encoded.push(key);
        return { tokens, key };
      },
    },
    features: new FeatureCache(0),
    prefixes: new PrefixCache({ maxBytes: 0 }),
    maxQueue: 0,
    maxStallMs: 500,
    maxChunkTokens: 1000,
  } as unknown as EngineOptions);
  const model = {
    config: { text: { vocabSize: VOCAB }, vision: { mergeSize: 2 } },
    eosTokenIds: new Set(eos),
    tokenizer,
    contextTokens: capacity,
    engine,
    images: {
      async get([rows = 0, columns = 0]: Uint8Array) {
        const grid = { gridHeight: rows * 2, gridWidth: columns * 2 };
        const key = `${rows} x ${columns}`;
        const tensor = { ...grid, key, imageTokens: rows * columns };
        return { tensor, views: [{ tensor, before: "", after: "" }], hit: false };
      },
    },
  } as unknown as ModelParts;
  const resolved: ResolvedRequest = {
    messages: messages ?? [{ role: "user", content: "你好" }],
    tools: [],
    toolChoice: "auto",
    parallelToolCalls: true,
    sampling: GREEDY,
    maxTokens: 50,
    maxReasoningTokens: 1024,
    stop: [],
    chat: undefined,
    priority: 0,
    onQueue: undefined,
    ...request,
  };
  const stop = startDeadline(undefined);
  await generate(model, resolved, (part) => record.parts.push(part), stop);
  return record;
}

/** Logits that make a text come out, token by token, and then the end. */
const saying = (text: string) => {
  const ids = [...tokenizer.encodeText(text), eos[0]!];
  return ids.map((id) => scores({ [id]: 10 }));
};

/** Of a letter that is a token of its own. */
function tokenId(letter: string): number {
  const [id = -1, ...more] = tokenizer.encodeText(letter);
  expect(more).toEqual([]);
  return id;
}

const keyOf = (features: VisionFeatures) => (features as VisionFeatures & { key: string }).key;

describe("generate", () => {
  it("puts pictures of different sizes in their places and spreads their positions", async () => {
    const { input } = await run({
      messages: [userMessage(picture(2, 5), "和", picture(4, 3), "？")],
      script: saying("好"),
    });
    const { ids, positions, images = [] } = input;
    const pads = [...ids.keys()].filter((token) => ids[token] === imagePad);
    expect(pads).toHaveLength(10 + 12);
    expect(images.map(({ start, features }) => [start, keyOf(features)])).toEqual([
      [pads[0], "2 x 5"],
      [pads[10], "4 x 3"],
    ]);
    const axis = (row: number) => positions.subarray(row * ids.length, (row + 1) * ids.length);
    const [time, height, width] = [axis(0), axis(1), axis(2)];
    for (const [first, rows, columns] of [
      [pads[0]!, 2, 5],
      [pads[10]!, 4, 3],
    ] as const) {
      for (let i = 0; i < rows * columns; i++) {
        expect(time[first + i]).toBe(time[first]);
        expect(height[first + i]! - time[first]!).toBe(Math.floor(i / columns));
        expect(width[first + i]! - time[first]!).toBe(i % columns);
      }
    }
  });

  it("goes on from the highest position of the prompt, not from its length", async () => {
    const { input, steps } = await run({
      messages: [userMessage(picture(4, 4), "看")],
      script: saying("是的。"),
    });
    const { ids, positions } = input;
    const highest = Math.max(...positions);
    expect(highest + 1).toBe(ids.length - 16 + 4);
    const answer = tokenizer.encodeText("是的。");
    expect(steps.map(({ id }) => id)).toEqual(answer);
    expect(steps.map(({ position }) => position)).toEqual(answer.map((_, i) => highest + 1 + i));
  });

  it("encodes a picture once that is there twice, and each of the others", async () => {
    const { encoded, input } = await run({
      messages: [userMessage(picture(2, 2), picture(3, 2), picture(2, 2), "？")],
      script: saying("好"),
    });
    expect(encoded).toEqual(["2 x 2", "3 x 2"]);
    expect(input.images?.map(({ features }) => keyOf(features))).toEqual([
      "2 x 2",
      "3 x 2",
      "2 x 2",
    ]);
  });

  it("gives the pictures that stay their own features when older turns are dropped", async () => {
    const { encoded, input, finish } = await run({
      messages: [
        userMessage(picture(6, 6), "图里有什么？"),
        { role: "assistant", content: "好" },
        userMessage(picture(2, 3), picture(3, 2), "呢？"),
      ],
      script: saying("好"),
      capacity: 64,
    });
    expect(finish.usage).toMatchObject({ droppedTurns: 1, imageTokens: 12 });
    expect(encoded).toEqual(["2 x 3", "3 x 2"]);
    expect(input.images?.map(({ features }) => keyOf(features))).toEqual(encoded);
  });

  it("stops at every token of the eos list, which is neither shown nor computed", async () => {
    for (const end of eos) {
      const script = [...saying("好").slice(0, -1), scores({ [end]: 10 })];
      const { text, steps, finish } = await run({ script });
      expect(text).toBe("好");
      expect(finish.finishReason).toBe("stop");
      expect(finish.usage.completionTokens).toBe(script.length - 1);
      expect(steps.map(({ id }) => id)).toEqual(tokenizer.encodeText("好"));
    }
  });

  it("computes nothing after a stop string, maxTokens or the end of the context", async () => {
    const script = saying("红色的圆形");
    const stopped = await run({ script, request: { stop: ["色"] } });
    expect(stopped.text).toBe("红");
    expect(stopped.finish.finishReason).toBe("stop-string");
    expect(stopped.steps).toHaveLength(stopped.finish.usage.completionTokens - 1);

    const short = await run({ script, request: { maxTokens: 2 } });
    expect(short.finish.finishReason).toBe("max-tokens");
    expect(short.steps).toHaveLength(1);

    const prompt = stopped.finish.usage.promptTokens;
    const endless = [scores({ [tokenId("Z")]: 10 })];
    const crowded = await run({ script: endless, capacity: 100, request: { maxTokens: 1000 } });
    expect(crowded.finish.finishReason).toBe("context-full");
    // The last token needs no room: nothing comes after it.
    expect(crowded.finish.usage.completionTokens).toBe(100 - prompt + 1);
  });

  it("never draws an id that has a row of logits but no token", async () => {
    const script = [scores({ [tokenizer.size]: 20, [VOCAB - 1]: 30, [tokenId("Z")]: 10 })];
    expect((await run({ script, request: { maxTokens: 1 } })).text).toBe("Z");
  });

  it("penalises presence in the answer alone, and repetition also of the prompt", async () => {
    const [w, x, y, z] = ["W", "X", "Y", "Z"].map(tokenId) as [number, number, number, number];
    const answer = async (penalty: object, content = userMessage("W"), best = w) => {
      const sampling = { ...GREEDY, ...penalty };
      const script = [scores({ [best]: 10, [x]: 9, [y]: 8, [z]: 7 })];
      return (await run({ messages: [content], script, request: { sampling, maxTokens: 4 } })).text;
    };
    expect(await answer({})).toBe("WWWW");
    expect(await answer({ presencePenalty: 5 })).toBe("WXYZ");
    expect(await answer({ repetitionPenalty: 2 })).toBe("XYZW");
    // Image tokens are tokens of the prompt too.
    const withPicture = userMessage(picture(2, 2), "W");
    expect(await answer({ repetitionPenalty: 2 }, withPicture, imagePad)).toBe("XYZ");
  });
});
