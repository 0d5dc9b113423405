// A bot that loses no time, with fakes on both sides: no merge window, no pauses between messages. It ends with its test.

import { onTestFinished } from "vitest";
import { installVlm } from "../../src/bot/install-vlm.ts";
import type { InstallVlmOptions } from "../../src/bot/options.ts";
import { FakeNapCat } from "../../src/bot/testing.ts";
import { type FakeAnswers, FakeVisionLanguageModel } from "../../src/vlm/testing.ts";
import { RecordingLogger } from "./recording-logger.ts";

export interface QuickBotOptions extends Partial<Omit<InstallVlmOptions, "model" | "logger">> {
  readonly answer?: FakeAnswers;
  /** One that was told what to answer before the bot asks. */
  readonly napcat?: FakeNapCat;
}

export function quickBot({
  answer = "好的。",
  napcat = new FakeNapCat(),
  ...options
}: QuickBotOptions = {}) {
  const model = new FakeVisionLanguageModel({ answer });
  const logger = new RecordingLogger();
  const bot = installVlm(napcat, {
    model,
    logger,
    systemPrompt: "",
    merge: { windowMs: 0 },
    ...options,
    reply: { gapMs: 0, jitterMs: 0, ...options.reply },
  });
  onTestFinished(() => bot.close());
  /** Hands events in, each when the bot has done with the one before. */
  const receive = async (...events: object[]) => {
    for (const event of events) {
      napcat.receive(event);
      await bot.idle();
    }
  };
  return { napcat, model, logger, bot, receive };
}
