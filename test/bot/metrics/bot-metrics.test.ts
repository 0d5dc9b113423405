// What a bot counts, seen at a bot that answers, refuses and fails.

import { afterEach, describe, expect, it } from "vitest";
import { type InstalledVlm, installVlm } from "../../../src/bot/install-vlm.ts";
import type { InstallVlmOptions } from "../../../src/bot/options.ts";
import { FakeNapCat, groupMessage, privateMessage } from "../../../src/bot/testing.ts";
import type { ModelHealth } from "../../../src/vlm/index.ts";
import { FakeVisionLanguageModel } from "../../../src/vlm/testing.ts";
import { PIXEL_PNG } from "../../support/events.ts";
import { RecordingLogger } from "../../support/recording-logger.ts";

const open: InstalledVlm[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((bot) => bot.close()));
});

function setUp(options: Partial<InstallVlmOptions> = {}) {
  const napcat = new FakeNapCat();
  const model = new FakeVisionLanguageModel({ answer: "好的" });
  const logger = new RecordingLogger();
  const bot = installVlm(napcat, {
    model,
    logger,
    merge: { windowMs: 0 },
    reply: { gapMs: 0, jitterMs: 0 },
    ...options,
  });
  open.push(bot);
  const receive = async (...events: object[]) => {
    for (const event of events) {
      napcat.receive(event);
      await bot.idle();
    }
  };
  const value = async (name: string, labels: object = {}) => {
    const { numbers } = await bot.watched.status();
    const found = numbers.filter(
      (one) =>
        one.name === name &&
        Object.entries(labels).every(([key, label]) => one.labels[key] === label),
    );
    return found.reduce((sum, one) => sum + one.value, 0);
  };
  return { napcat, model, bot, receive, value };
}

describe("the numbers of a bot", () => {
  it("count messages, turns, sends, tokens and times", async () => {
    const { receive, value, bot } = setUp();
    await receive(groupMessage({ text: "大家早" }));
    await receive(groupMessage({ text: "你好", mentionsBot: true }));
    await receive(privateMessage({ text: "你好" }));
    expect(await value("napcat_vlm_messages_total", { chat: "group" })).toBe(2);
    expect(await value("napcat_vlm_messages_total", { chat: "private" })).toBe(1);
    expect(await value("napcat_vlm_turns_total", { outcome: "answered" })).toBe(2);
    expect(await value("napcat_vlm_turns_total", { trigger: "mention" })).toBe(1);
    expect(await value("napcat_vlm_sends_total", { outcome: "sent" })).toBe(2);
    expect(await value("napcat_vlm_tokens_total", { kind: "completion" })).toBe(2);
    expect(await value("napcat_vlm_turn_seconds_count")).toBe(2);
    expect(await value("napcat_vlm_answer_seconds_count", { stage: "decode" })).toBe(2);
    expect(await value("napcat_vlm_turns_running")).toBe(0);
    expect(await value("napcat_vlm_connected")).toBe(1);
    const { text, mediaType } = await bot.watched.metrics();
    expect(mediaType).toContain("text/plain");
    expect(text).toContain('napcat_vlm_turns_total{trigger="mention",outcome="answered"} 1');
    expect(text).toContain('napcat_vlm_turn_seconds_bucket{le="0.05"} ');
  });

  it("count what was not answered, and why, and what failed", async () => {
    const { receive, value, napcat, bot } = setUp();
    const message = groupMessage({ text: "你好", mentionsBot: true });
    await receive(message, message);
    expect(await value("napcat_vlm_refusals_total", { reason: "repeated" })).toBe(1);
    napcat.refuse("send_group_msg", "不行");
    await receive(groupMessage({ text: "在吗", mentionsBot: true }));
    expect(await value("napcat_vlm_turns_total", { outcome: "failed" })).toBe(1);
    expect(await value("napcat_vlm_sends_total", { outcome: "sent" })).toBe(1);
    const { errors } = await bot.watched.status();
    expect(errors[0]).toMatchObject({ chat: expect.stringMatching(/^group:/) });
  });

  it("belong to one bot", async () => {
    const [first, second] = [setUp(), setUp()];
    await first.receive(privateMessage({ text: "你好" }));
    expect(await first.value("napcat_vlm_turns_total")).toBe(1);
    expect(await second.value("napcat_vlm_turns_total")).toBe(0);
  });
});

describe("the status of a bot", () => {
  it("shows running turns, and stops one", async () => {
    const { bot, napcat, receive, model } = setUp();
    void model;
    const slow = new Promise<never>(() => {});
    const stuck = setUp({
      model: new FakeVisionLanguageModel({ answer: () => slow }),
    });
    stuck.napcat.receive(groupMessage({ text: "你好", mentionsBot: true }));
    const running = async () => (await stuck.bot.watched.status()).turns;
    await expect.poll(async () => (await running())[0]?.stage).toBe("answering");
    const [turn] = await running();
    expect(turn).toMatchObject({ trigger: "mention", chat: expect.stringMatching(/^group:/) });
    expect(stuck.bot.watched.stopTurn(turn!.id + 1)).toBe(false);
    expect(stuck.bot.watched.stopTurn(turn!.id)).toBe(true);
    await stuck.bot.idle();
    expect(await running()).toEqual([]);
    expect(stuck.napcat.sentTexts).toEqual([]);
    expect(await stuck.value("napcat_vlm_turns_total", { outcome: "stopped" })).toBe(1);
    await receive(groupMessage({ text: "你好", mentionsBot: true }));
    expect(napcat.sentTexts).toEqual(["好的"]);
    expect((await bot.watched.status()).turns).toEqual([]);
  });

  it("says whether all is well, and why not", async () => {
    const { bot, model } = setUp();
    expect(bot.health()).toEqual({ status: "healthy", reasons: [] });
    await model.dispose();
    expect(bot.health()).toEqual({ status: "unhealthy", reasons: ["model-disposed"] });
    await bot.close();
    expect(bot.health().reasons).toEqual(["model-disposed", "closed"]);
  });

  it("says that the model's device was lost, until it is back", async () => {
    let health: ModelHealth = { state: "ready", losses: 0 };
    const model = new FakeVisionLanguageModel({ health: () => health });
    const bot = installVlm(new FakeNapCat(), { model });
    expect(bot.health()).toEqual({ status: "healthy", reasons: [] });
    health = { state: "reloading", losses: 1, reason: "cuda:0 was lost.", nextAttemptMs: 0 };
    expect(bot.health()).toEqual({ status: "degraded", reasons: ["model-reloading"] });
    health = { state: "ready", losses: 1 };
    expect(bot.health()).toEqual({ status: "healthy", reasons: [] });
    await bot.close();
  });

  it("says that messages to a chat keep failing", async () => {
    const { bot, napcat, receive } = setUp({ breaker: { failures: 2 } });
    napcat.refuse("send_group_msg", "不行");
    for (const text of ["一", "二", "三"]) await receive(groupMessage({ text, mentionsBot: true }));
    expect(bot.health()).toEqual({ status: "degraded", reasons: ["sends-fail"] });
  });
});

describe("a secret", () => {
  it("shows nowhere: not in numbers, not in the status, not in a log above debug", async () => {
    const CANARY = "CANARY7f3a9c";
    const logger = new RecordingLogger();
    const napcat = new FakeNapCat();
    const model = new FakeVisionLanguageModel({
      answer: () => new Error(`${CANARY} https://example.com/?key=${CANARY}`),
    });
    const bot = installVlm(napcat, {
      model,
      logger,
      merge: { windowMs: 0 },
      reply: { gapMs: 0, jitterMs: 0 },
      systemPrompt: "",
      admins: ["10001"],
      onError: () => {
        throw new Error(CANARY);
      },
    });
    open.push(bot);
    napcat.refuse("get_msg", `token=${CANARY}`);
    napcat.receive({
      ...groupMessage({ text: CANARY, mentionsBot: true, nickname: CANARY }),
      group_name: CANARY,
    });
    napcat.receive(
      groupMessage({
        text: "看",
        mentionsBot: true,
        images: [`https://multimedia.nt.qq.com.cn/download?rkey=${CANARY}`] as never,
      }),
    );
    await bot.idle();
    const seen = [
      JSON.stringify(await bot.watched.status()),
      (await bot.watched.metrics()).text,
      JSON.stringify(napcat.sent),
      JSON.stringify(logger.lines.filter(({ level }) => level !== "debug")),
    ];
    for (const text of seen) expect(text).not.toContain(CANARY);
    expect(seen[0]).toContain('"errors":[{');
  });
});

describe("a picture", () => {
  it("of ten megabytes leaves a log of less than a thousand characters", async () => {
    const logger = new RecordingLogger();
    const napcat = new FakeNapCat();
    const model = new FakeVisionLanguageModel({ answer: () => new Error("no") });
    const bot = installVlm(napcat, { model, logger, merge: { windowMs: 0 } });
    open.push(bot);
    const bytes = new Uint8Array(10 * 1024 * 1024);
    bytes.set(PIXEL_PNG);
    napcat.receive(groupMessage({ text: "看", mentionsBot: true, images: [bytes] }));
    napcat.receive(groupMessage({ images: [bytes.fill(65)] }));
    napcat.receive(groupMessage({ text: "看看", mentionsBot: true, images: [bytes] }));
    await bot.idle();
    expect(napcat.sent).toHaveLength(2);
    expect(JSON.stringify(logger.lines).length).toBeLessThan(1000);
  });
});
