// Which picture is meant when several are in a chat: the tiny chat model in conversations of several people.
// Measured over every kind of question there is here; the criterion holds for each kind on its own.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ChatId } from "../../src/bot/chat/chat-id.ts";
import { Responder } from "../../src/bot/chat/responder.ts";
import type { TurnPart } from "../../src/bot/chat/turn.ts";
import { Random } from "../../src/vlm/engine/random.ts";
import type { VisionLanguageModel } from "../../src/vlm/index.ts";
import { COLORS, type ColorName, drawShapes, SHAPES } from "../support/draw.ts";
import { loadTinyChat, userMessage } from "../support/tiny-chat.ts";

const COLOR_NAMES: Readonly<Record<ColorName, string>> = {
  red: "红色",
  green: "绿色",
  blue: "蓝色",
  yellow: "黄色",
  purple: "紫色",
  orange: "橙色",
  black: "黑色",
  pink: "粉色",
};
const SHAPE_NAMES = {
  circle: "圆形",
  square: "正方形",
  triangle: "三角形",
  star: "星形",
  cross: "十字",
} as const;
const PEOPLE = ["小明", "李四", "Alice"];

let model: VisionLanguageModel;
beforeAll(async () => {
  model = await loadTinyChat();
});
afterAll(() => model.dispose());

const random = new Random(8);
const pick = <T>(items: readonly T[]): T => items[Math.floor(random.next() * items.length)]!;

async function drawSomething() {
  const shape = pick(SHAPES);
  const color = pick(Object.keys(COLORS) as ColorName[]);
  const what = `${COLOR_NAMES[color]}的${SHAPE_NAMES[shape]}`;
  return { what, color: COLOR_NAMES[color], data: await drawShapes([{ shape, color }]) };
}

const single = async (question: string, ...pictures: Uint8Array[]) =>
  (await model.generate({ messages: [userMessage(...pictures, question)], temperature: 0 })).text;

/** A conversation of so many people; whoever speaks is drawn by lot. */
function talk(chat: ChatId, people: number) {
  const responder = new Responder({ model, sampling: { temperature: 0 } });
  return async (text: string, ...pictures: Uint8Array[]) => {
    const name = pick(PEOPLE.slice(0, people));
    const parts: TurnPart[] = pictures.map((data) => ({ type: "image", data }));
    parts.push({ type: "text", text });
    return (await responder.respond({ chat, sender: { id: name, name }, parts })).text;
  };
}

const CHATS: readonly (readonly [ChatId, number])[] = [
  [{ kind: "private", id: "1" }, 1],
  [{ kind: "group", id: "2" }, 2],
  [{ kind: "group", id: "3" }, 3],
];

type Picture = Awaited<ReturnType<typeof drawSomething>>;
type Ask = ReturnType<typeof talk>;
/** Cases of a group, right or not. */
type Count = (group: string, right: boolean) => void;

const WHAT = "图里有什么？";
const COLOR = "它是什么颜色？";
const ORDINALS = "一二三四五六";
/** By number or by order; what is in it, or its colour. */
const NAMINGS = {
  第三张是什么: (n: number) => `第${ORDINALS[n]}张是什么？`,
  第三张是什么颜色: (n: number) => `第${ORDINALS[n]}张是什么颜色？`,
  第三张图里有什么: (n: number) => `第${ORDINALS[n]}张图里有什么？`,
  第3张图里有什么: (n: number) => `第${n + 1}张图里有什么？`,
  第3张是什么: (n: number) => `第${n + 1}张是什么？`,
};

/** Pictures one after the other, each asked about; now and then for its colour too. */
async function showAll(ask: Ask, pictures: readonly Picture[], count: Count) {
  for (const { what, color, data } of pictures) {
    count("new", (await ask(WHAT, data)).includes(what));
    if (random.next() < 0.5) count("colour", (await ask(COLOR)).includes(color));
    if (random.next() < 0.3) count("asked again", (await ask(WHAT)).includes(what));
  }
}

async function nameAll(ask: Ask, naming: keyof typeof NAMINGS, pictures: readonly Picture[]) {
  const right: boolean[] = [];
  for (const [index, { what, color }] of pictures.entries()) {
    const answer = await ask(NAMINGS[naming](index));
    right.push(answer.includes(naming.endsWith("颜色") ? color : what));
  }
  return right;
}

/** The least share of every group that has to be right. */
const LEAST = 0.95;

describe("the picture that is meant", () => {
  it("is the newest, or the one that is named, in every group of cases", async () => {
    const groups: Record<string, { right: number; of: number }> = {};
    const count: Count = (group, right) => {
      groups[group] ??= { right: 0, of: 0 };
      groups[group].of++;
      if (right) groups[group].right++;
    };
    for (const [chat, people] of CHATS) {
      for (const naming of Object.keys(NAMINGS) as (keyof typeof NAMINGS)[]) {
        for (let shown = 2; shown <= 6; shown++) {
          const pictures = await Promise.all(Array.from({ length: shown }, drawSomething));
          // Every one of them is right in a single turn, so that no case is left out.
          for (const { what, data } of pictures) expect(await single(WHAT, data)).toContain(what);
          const ask = talk(chat, people);
          await showAll(ask, pictures, count);
          for (const right of await nameAll(ask, naming, pictures)) {
            for (const group of [naming, `named, of ${shown}`, `named, by ${people}`]) {
              count(group, right);
            }
          }
          const newest = pictures.at(-1)!.what;
          count("newest after the others", (await ask(WHAT)).includes(newest));
        }
      }
    }
    expect(Object.keys(groups)).toHaveLength(17);
    for (const [group, { right, of }] of Object.entries(groups)) {
      expect(of, group).toBeGreaterThanOrEqual(30);
      expect.soft(right / of, `${group}: ${right} of ${of}`).toBeGreaterThanOrEqual(LEAST);
    }
  });
});
