// A flood: many people in several groups at once, and notices without end.

import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { installVlm } from "../../../src/bot/install-vlm.ts";
import { FakeNapCat, groupMessage } from "../../../src/bot/testing.ts";
import { FakeVisionLanguageModel } from "../../../src/vlm/testing.ts";
import { PIXEL_PNG, readEvent } from "../../support/events.ts";
import { RecordingLogger } from "../../support/recording-logger.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
});
afterEach(() => {
  vi.useRealTimers();
});

const GROUPS = 5;
const BUSY = "现在有点忙，稍后再问我吧。";

it("a flood keeps the queue within its bounds, answers what it took, and says once per chat that it is busy", async () => {
  const napcat = new FakeNapCat();
  const model = new FakeVisionLanguageModel({ answer: "一只猫。" });
  const logger = new RecordingLogger();
  const bot = installVlm(napcat, {
    model,
    logger,
    limits: { personPerMinute: 0, groupPerMinute: 0, totalPerMinute: 0 },
  });
  for (let index = 0; index < 200; index++) {
    const asks = index % 4 === 0;
    napcat.receive(
      groupMessage({
        text: `${index}`,
        mentionsBot: asks,
        images: asks ? [PIXEL_PNG] : [],
        userId: 1 + (index % 20) + (asks ? 100 * index : 0),
        groupId: 1 + (index % GROUPS),
      }),
    );
    napcat.receive(readEvent("notice_input_status"));
    napcat.receive(readEvent("notice_input_status"));
    await vi.advanceTimersByTimeAsync(10);
  }
  for (let round = 0; round < 60; round++) {
    await vi.advanceTimersByTimeAsync(1000);
    await new Promise(setImmediate);
  }
  await bot.idle();
  // One at work and three in wait for each group; the rest of the fifty were told to come back, once a group.
  const busy = napcat.sentTexts.filter((text) => text === BUSY);
  const answers = napcat.sentTexts.filter((text) => text === "一只猫。");
  expect(busy).toHaveLength(GROUPS);
  expect(answers).toHaveLength(model.requests.length);
  expect(model.requests.length).toBeGreaterThanOrEqual(4 * GROUPS);
  expect(model.requests.length).toBeLessThan(50);
  // One line a chat, which says what could be changed.
  expect(logger.at("error")).toHaveLength(GROUPS);
  expect(logger.lines.find(({ level }) => level === "error")?.facts?.error).toContain(
    "raise maxQueuePerChat",
  );
  await bot.close();
  expect(napcat.listeners).toBe(0);
});
