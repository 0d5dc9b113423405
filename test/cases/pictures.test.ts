// Every row of pictures/expected.json: pictures that are not what they seem, seen by the tiny chat model.

import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectImage } from "../../src/bot/images/image-bytes.ts";
import { TimeSlice } from "../../src/vlm/event-loop/time-slice.ts";
import { checkImageLimits } from "../../src/vlm/image/decode-image.ts";
import { DEFAULT_PICTURE_NOTES } from "../../src/vlm/image/picture-notes.ts";
import { readViews } from "../../src/vlm/image/picture-views.ts";
import type { VisionLanguageModel } from "../../src/vlm/vision-language-model.ts";
import { loadTinyChat, userMessage } from "../support/tiny-chat.ts";

interface Case {
  readonly file: string;
  readonly what: string;
  readonly sees?: string;
  readonly alsoGood?: readonly string[];
  readonly error?: string;
  readonly reads?: readonly string[];
}

const folder = new URL("pictures/", import.meta.url);
const picture = (name: string) => readFileSync(new URL(name, folder));
const { question, cases } = JSON.parse(picture("expected.json").toString()) as {
  readonly question: string;
  readonly cases: readonly Case[];
};
/** With several frames the answer names several things: one of them, and never something that is not there. */
const MOVING = ["three-frames.gif", "animated-cut-60.gif"];

let model: VisionLanguageModel;
beforeAll(async () => {
  model = await loadTinyChat();
});
afterAll(() => model.dispose());

const ask = (data: Uint8Array) =>
  model.generate({ messages: [userMessage(data, question)], temperature: 0 });

describe("pictures that are not what they seem", () => {
  const seen = cases.filter(({ sees }) => sees);
  it.each(seen.filter(({ file }) => !MOVING.includes(file)))("$file: $what", async (row) => {
    expect((await ask(picture(row.file))).text).toBe(`图里有一个${row.sees}。`);
  });

  it.each(seen.filter(({ file }) => MOVING.includes(file)))("$file: $what", async (row) => {
    const { text, usage } = await ask(picture(row.file));
    expect(text).toContain(row.sees);
    expect(usage.imageTokens).toBeGreaterThan(9);
    const first = await loadTinyChat({ images: { maxFrames: 1 } });
    const still = await first.generate({
      messages: [userMessage(picture(row.file), question)],
      temperature: 0,
    });
    expect(still.text).toBe(`图里有一个${row.sees}。`);
    await first.dispose();
  });

  it.each(cases.filter(({ error }) => error))("$file: $what", async ({ file, error }) => {
    await expect(ask(picture(file))).rejects.toMatchObject({ code: error });
  });

  it.each(cases.filter(({ sees }) => sees === ""))("$file: $what", async ({ file }) => {
    expect((await ask(picture(file))).usage.imageTokens).toBe(9);
  });

  it.each(cases.filter(({ reads }) => reads))("$file: $what", async ({ file }) => {
    const views = await readViews(
      picture(file),
      {
        limits: checkImageLimits({}),
        alpha: "white",
        budget: { factor: 32, minPixels: 65_536, maxPixels: 512 * 1024 },
        maxFrames: 4,
        maxTiles: 4,
        notes: DEFAULT_PICTURE_NOTES,
      },
      new TimeSlice(),
    );
    // Type of 40 pixels stays above 20; whole, it was 11.
    for (const { image, budget } of views) {
      expect(Math.sqrt(budget.maxPixels / (image.width * image.height)) * 40).toBeGreaterThan(20);
    }
  });

  it.each(cases.filter(({ error }) => !error))("$file passes the bot's own check", ({ file }) => {
    expect(expectImage(picture(file))).toEqual(picture(file));
  });
});
