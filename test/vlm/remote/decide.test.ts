// decide through a server: our own door beside the same model in this process, and servers that show less.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Responder } from "../../../src/bot/chat/responder.ts";
import { type DebugServer, startDebugServer } from "../../../src/bot/debug-http/server.ts";
import { loadQwen3Vl, type Qwen3VlModel } from "../../../src/vlm/qwen3-vl.ts";
import { fallback, type OpenAiVlm, openAiVlm } from "../../../src/vlm/remote/index.ts";
import {
  type Asked,
  ChatServer,
  chunk,
  events,
  replies,
  type Write,
} from "../../support/chat-server.ts";
import { DECISIONS, decidingToy } from "../../support/deciding-toy.ts";
import { drawShapes } from "../../support/draw.ts";
import { opensThoughts } from "../../support/own-head.ts";
import { userMessage } from "../../support/tiny-chat.ts";

describe.each([{ thinking: false }, { thinking: true }])(
  "our own door, thinking $thinking",
  (kind) => {
    let directory: string;
    let here: Qwen3VlModel;
    let server: DebugServer;
    let there: OpenAiVlm;

    beforeAll(async () => {
      directory = await mkdtemp(join(tmpdir(), "napcat-vlm-decide-"));
      const checkpoint = await decidingToy(join(directory, "model"));
      if (kind.thinking) await opensThoughts(checkpoint);
      here = await loadQwen3Vl({ model: checkpoint, precision: "fp32", onWarning: () => {} });
      const responder = new Responder({ model: here });
      server = await startDebugServer({ responder, model: here, port: 0 });
      there = openAiVlm({ baseURL: `${server.url}/v1`, retries: 0, thinking: kind.thinking });
    });
    afterAll(async () => {
      await there.dispose();
      await server.close();
      await here.dispose();
      await rm(directory, { recursive: true, force: true });
    });

    it("decides as the model in this process does, with its probabilities", async () => {
      const picture = await drawShapes([{ shape: "circle", color: "red" }]);
      const messages = [userMessage(picture)];
      const questions = [
        { type: "yes-no", question: "有圆形吗？", yes: "有", no: "没有" },
        ...DECISIONS,
        { type: "box", question: "圆形" },
      ] as const;
      const direct = await here.decide({ messages, questions });
      const remote = await there.decide({ messages, questions });
      const [circle, some, what, count, place] = direct.decisions;
      expect(remote.decisions).toMatchObject([
        { yes: circle.yes },
        { yes: some.yes },
        { option: what.option },
        { value: count.value },
        { box: place.box },
      ]);
      const weighed = ({ decisions: [first, second, third] }: typeof direct) => [
        first.probability,
        second.probability,
        ...third.probabilities,
      ];
      for (const [index, wanted] of weighed(direct).entries()) {
        expect(weighed(remote)[index]).toBeCloseTo(wanted, 4);
      }
      // Of digits and coordinates the server shows the likeliest only: what is left has a little more of the whole.
      const [, , , counted, placed] = remote.decisions;
      expect(counted.probability).toBeCloseTo(count.probability, 1);
      expect(counted.expected).toBeCloseTo(count.expected, 0);
      expect(placed.probability / place.probability).toBeCloseTo(1, 0);
    });
  },
);

/** Log-probabilities of tokens behind a beginning. */
type Table = Readonly<Record<string, Readonly<Record<string, number>>>>;

interface Habits {
  /** Begins a new answer where it was to go on. */
  readonly startsAnew?: boolean;
  /** Most of the likeliest that it shows; more is refused. */
  readonly mostLogprobs?: number;
}

/** What the request has of the answer. */
function beginningOf({ body }: Asked): string {
  const last = (body.messages as readonly { role: string; content: string }[]).at(-1);
  return last?.role === "assistant" ? last.content : "";
}

/** A server that shows what stands in a table. Each beginning is one token long for each of its characters. */
function shows(table: Table, { startsAnew = false, mostLogprobs = 20 }: Habits = {}): Write {
  return (response, asked) => {
    const wanted = asked.body.top_logprobs as number;
    if (wanted > mostLogprobs) {
      const message = `top_logprobs must be less than or equal to ${mostLogprobs}`;
      return replies(400, { error: { message, type: "invalid_request_error" } })(response, asked);
    }
    const beginning = beginningOf(asked);
    const row = Object.entries(table[startsAnew ? "" : beginning] ?? {});
    const all = row.map(([token, logprob]) => ({ token, logprob }));
    const content = [{ ...all[0], top_logprobs: all.slice(0, wanted) }];
    const first = { ...chunk({ content: row[0]?.[0] ?? "" }, "length"), usage: undefined };
    const choices = (first as { choices?: object[] }).choices?.map((choice) => ({
      ...choice,
      logprobs: { content },
    }));
    const more = startsAnew && beginning !== "" ? beginning.length + 5 : beginning.length;
    const usage = { prompt_tokens: 40 + more, completion_tokens: 1 };
    return events({ ...first, choices }, { choices: [], usage })(response, asked);
  };
}

describe("servers of others", () => {
  const closing: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  async function setUp(write: Write, options: { readonly thinking?: boolean } = {}) {
    const server = await new ChatServer(write).listen();
    closing.push(() => server.close());
    const model = openAiVlm({ baseURL: server.baseURL, model: "eyes", retries: 0, ...options });
    closing.push(() => model.dispose());
    return { server, model };
  }

  const messages = [userMessage("看")];
  const YES_NO = [{ type: "yes-no", question: "好吗？" }] as const;
  const log = Math.log;

  it("are asked for one token, greedily, and for what follows each of the options", async () => {
    const end = { "<|im_end|>": log(0.9), "，": log(0.1) };
    const table = { "": { 是: log(0.6), 否: log(0.3), 好: log(0.1) }, 是: end, 否: end };
    const { server, model } = await setUp(shows(table));
    const { decisions } = await model.decide({ messages, questions: YES_NO });
    // The mean over the token and the end: the end is the same for both.
    const [yes, no] = [Math.sqrt(0.6 * 0.9), Math.sqrt(0.3 * 0.9)];
    expect(decisions[0].yes).toBe(true);
    expect(decisions[0].probability).toBeCloseTo(yes / (yes + no), 6);
    expect(server.asked.map(beginningOf)).toEqual(["", "是", "否"]);
    expect(server.asked[0]?.body).toMatchObject({
      max_tokens: 1,
      temperature: 0,
      logprobs: true,
      top_logprobs: 20,
      chat_template_kwargs: { enable_thinking: false },
    });
    expect(server.asked[1]?.body).toMatchObject({
      continue_final_message: true,
      add_generation_prompt: false,
    });
  });

  it("that begin anew are found out by what they have read: the first token decides", async () => {
    const { server, model } = await setUp(
      shows({ "": { 是: log(0.64), 否: log(0.36) } }, { startsAnew: true }),
    );
    for (const _ of [1, 2]) {
      const { decisions } = await model.decide({ messages, questions: YES_NO });
      expect(decisions[0].probability).toBeCloseTo(0.8 / 1.4, 6);
    }
    // Nobody asks it to go on a second time.
    expect(server.asked.filter((asked) => beginningOf(asked) !== "").length).toBeLessThanOrEqual(2);
  });

  it("cannot tell options apart that begin with one token, unless they go on from it", async () => {
    const options = ["红色", "红的"];
    const questions = [{ type: "choice", question: "?", options }] as const;
    const table = {
      "": { 红: log(0.9), 蓝: log(0.1) },
      红: { 的: log(0.75), 色: log(0.25) },
      红的: { "</s>": 0 },
      红色: { "": 0 },
    };
    const { model } = await setUp(shows(table));
    const { decisions } = await model.decide({ messages, questions });
    expect(decisions[0].option).toBe("红的");
    const other = await setUp(shows(table, { startsAnew: true }));
    await expect(other.model.decide({ messages, questions })).rejects.toMatchObject({
      name: "RemoteError",
      code: "remote-undecided",
      message: expect.stringContaining("begin with one token"),
    });
  });

  it("that say something else altogether decide nothing", async () => {
    const { model } = await setUp(shows({ "": { "<think>": log(0.9), 用户: log(0.1) } }));
    await expect(model.decide({ messages, questions: YES_NO })).rejects.toMatchObject({
      code: "remote-undecided",
      message: expect.stringContaining("thinks aloud"),
    });
  });

  it("that show fewer are asked for fewer", async () => {
    const table = { "": { 是: log(0.6), 否: log(0.4) }, 是: { "": 0 }, 否: { "": 0 } };
    const { server, model } = await setUp(shows(table, { mostLogprobs: 5 }));
    const { decisions } = await model.decide({ messages, questions: YES_NO });
    expect(decisions[0].yes).toBe(true);
    expect(server.asked.map(({ body }) => body.top_logprobs)).toEqual([20, 5, 5, 5]);
  });

  it("that show none are an error of its own kind, and are not asked again", async () => {
    const says = events(chunk({ content: "是" }), chunk({}, "length"));
    const { server, model } = await setUp(says);
    for (const _ of [1, 2]) {
      await expect(model.decide({ messages, questions: YES_NO })).rejects.toMatchObject({
        name: "RemoteError",
        code: "remote-no-logprobs",
        message: expect.stringContaining("top_logprobs"),
      });
    }
    expect(server.asked).toHaveLength(1);
  });

  it("that refuse the field show none", async () => {
    const refuses: Write = (response, asked) =>
      "logprobs" in asked.body
        ? replies(400, { error: { message: "Unknown parameter: 'logprobs'." } })(response, asked)
        : events(chunk({ content: "是" }), chunk({}, "length"))(response, asked);
    const { model } = await setUp(refuses);
    const failed = model.decide({ messages, questions: YES_NO });
    await expect(failed).rejects.toMatchObject({ code: "remote-no-logprobs" });
  });

  it("leave deciding to the first that can, and are not left alone for that", async () => {
    const blind = await setUp(events(chunk({ content: "是" }), chunk({}, "length")));
    const table = { "": { 否: log(0.9), 是: log(0.1) }, 是: { "": 0 }, 否: { "": 0 } };
    const seeing = await setUp(shows(table));
    const both = fallback([blind.model, seeing.model]);
    const { decisions } = await both.decide!({ messages, questions: YES_NO });
    expect(decisions[0].yes).toBe(false);
    await expect(both.generate({ messages })).resolves.toMatchObject({ text: "是" });
  });

  it("find a box in what they write where they begin anew", async () => {
    const picture = await drawShapes([{ shape: "circle", color: "red" }]);
    const text = '```json\n[{"bbox_2d": [100, 200, 300, 1000]}]';
    const content = [...text].map((token) => ({
      token,
      logprob: log(0.5),
      top_logprobs: [
        { token, logprob: log(0.5) },
        { token: "x", logprob: log(0.5) },
      ],
    }));
    const answer = chunk({ content: text }, "stop") as { choices: object[] };
    const choices = answer.choices.map((choice) => ({ ...choice, logprobs: { content } }));
    const { model } = await setUp(events({ ...answer, choices }));
    const questions = [{ type: "box", question: "圆" }] as const;
    const { decisions } = await model.decide({ messages: [userMessage(picture)], questions });
    expect(decisions[0].box).toEqual({ left: 0.1, top: 0.2, right: 0.3, bottom: 1 });
    // What could not stand there does not count.
    expect(decisions[0].probability).toBeCloseTo(1, 6);
    const wordy = await setUp(shows({ "": { 没有: 0 }, '{"bbox_2d": [': { 没有: 0 } }));
    await expect(
      wordy.model.decide({ messages: [userMessage(picture)], questions }),
    ).rejects.toMatchObject({ code: "remote-undecided" });
  });

  it("are asked nothing where the question is wrong, and hear no more once it is given up", async () => {
    const { server, model } = await setUp(shows({}));
    const wrong = [{ type: "choice", question: "?", options: ["a"] }] as const;
    await expect(model.decide({ messages, questions: wrong })).rejects.toThrow(TypeError);
    expect(server.asked).toEqual([]);
    const signal = AbortSignal.abort(new Error("mine"));
    await expect(model.decide({ messages, questions: YES_NO, signal })).rejects.toThrow("mine");
  });
});
