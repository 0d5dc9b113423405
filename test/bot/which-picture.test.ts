// Which picture is meant when several are in a chat: the tiny chat model in conversations of several people.
// It was taught rows of up to three pictures; of those it can be asked by number, of any number the latest one.

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

describe.each([
  ["one person in private", { kind: "private", id: "1" }, 1],
  ["two people in a group", { kind: "group", id: "2" }, 2],
  ["three people in a group", { kind: "group", id: "3" }, 3],
] as const)("the picture that is meant, by %s", (_, chat, people) => {
  it("is the newest, or the one that is named", async () => {
    const outcomes: boolean[] = [];
    for (let count = 2; count <= 6; count++) {
      const ask = talk(chat, people);
      const pictures = await Promise.all(Array.from({ length: count }, drawSomething));
      for (const { what, color, data } of pictures) {
        const whatIsThere = `图里有一个${what}。`;
        if ((await single("图里有什么？", data)) !== whatIsThere) continue;
        outcomes.push((await ask("图里有什么？", data)) === whatIsThere);
        outcomes.push((await ask("它是什么颜色？")) === `${color}。`);
      }
      if (count > 3) continue;
      const all = pictures.map(({ data }) => data);
      for (const [index, { what }] of pictures.entries()) {
        const question = `第${"一二三"[index]}张是什么？`;
        if (!(await single(question, ...all)).includes(what)) continue;
        outcomes.push((await ask(question)).includes(what));
      }
    }
    const right = outcomes.filter(Boolean).length;
    expect(outcomes.length).toBeGreaterThan(30);
    expect(right / outcomes.length).toBeGreaterThanOrEqual(0.95);
  });
});
