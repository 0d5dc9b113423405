// An evening in real groups, played to the real command over a real socket, with the tiny chat model and all defaults but
// the limit of all questions together: how many of them a machine gets through in a minute is no test's affair.
// Silence is proven by what comes after it: a chat is answered in order, so whoever asks next is answered next.

import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  at,
  Evening,
  type EveningSegment,
  forward,
  type Place,
  quote,
  quotedBy,
  type SaidMessage,
  text,
} from "../support/evening.ts";
import { build, ROOT, removeBuild } from "./command.ts";

const RED = "图里有一个红色的圆形。";
const BLUE = "图里有一个蓝色的正方形。";
const GREEN = "图里有一个绿色的三角形。";
const YELLOW = "图里有一个黄色的星形。";
const WHAT = text(" 图里有什么？");
const NO_PICTURE = "我没看到图片。请把图发给我，或者引用那张图再问一次。";
const BUSY = "现在有点忙，稍后再问我吧。";
const ANEW = "好的，我们重新开始。";

/** Wherever a secret may stand: tokens, links, names, paths, and what others say went wrong. */
const SECRET = "CANARY7f3a9c0b5e21d4";

let directory: string;
let work: string;
let evening: Evening;
let groups = 100;

beforeAll(async () => {
  directory = build();
  work = mkdtempSync(join(tmpdir(), "napcat-vlm-evening-"));
  // The first start converts beside the weights.
  cpSync(join(ROOT, "examples", "tiny-chat"), join(work, "tiny-chat"), { recursive: true });
  const settings = join(work, "settings.json");
  writeFileSync(settings, JSON.stringify({ bot: { limits: { totalPerMinute: 0 } } }));
  const places = ["--model", join(work, "tiny-chat"), "--data", join(work, `chats-${SECRET}`)];
  evening = await Evening.begin(join(directory, "cli.js"), [...places, "--config", settings], {
    NAPCAT_TOKEN: SECRET,
    DEBUG_TOKEN: SECRET,
  });
});
afterAll(async () => {
  const ended = await evening?.end();
  removeBuild(directory);
  if (work !== undefined) rmSync(work, { recursive: true, force: true });
  expect(ended?.code).toBe(0);
  expect(ended?.output).not.toMatch(/图里|unhandled|at .*\.js:\d/iu);
});

/** On a busy machine somebody waits long enough to be told so. */
const isAnswer = (said: string) => !said.startsWith("收到，前面还有");

/** A group nobody has spoken in yet, with people of its own. */
function newGroup() {
  const number = ++groups;
  const place: Place = { group: number };
  const person = (index: number) => 10 * number + index;
  return {
    number,
    place,
    say: (who: number, ...message: EveningSegment[]) => evening.say(place, person(who), ...message),
    write: (who: number, ...message: EveningSegment[]) =>
      evening.write(place, person(who), ...message),
    person,
    answered: (count?: number) => evening.answered(place, count),
    /** Everything said so far is settled: the next question is the only one that adds an answer. */
    settled: async (...before: string[]) => {
      evening.say(place, person(9), at(), evening.picture("yellowStar"), WHAT);
      expect(await evening.answered(place, before.length + 1)).toEqual([...before, YELLOW]);
    },
  };
}

describe("a quoted picture", () => {
  it.each([
    ["as NapCat writes it", (id: number) => [quote(String(id)), at(), WHAT]],
    ["with numbers for ids", (id: number) => [quote(id), at(3000000001), WHAT]],
    [
      "with an @ of whom it quotes",
      (id: number) => [quote(String(id)), at("5"), text(" "), at(), WHAT],
    ],
    ["behind the words", (id: number) => [at(), WHAT, quote(String(id))]],
  ])("is the one that is meant, %s, though there are newer ones", async (_how, question) => {
    const { say, answered, settled } = newGroup();
    const quoted = say(1, evening.picture("redCircle"));
    say(2, evening.picture("blueSquare"));
    say(3, evening.picture("greenTriangle"));
    const asking = say(3, ...question(quoted.message_id));
    expect(await answered()).toEqual([RED]);
    expect(quotedBy(evening.sends({ group: asking.group_id ?? 0 })[0]!)).toBe(
      String(asking.message_id),
    );
    await settled(RED);
  });

  it("is found behind a quote of a quote, and in private", async () => {
    const { say, answered } = newGroup();
    const picture = say(1, evening.picture("redCircle"));
    const second = say(2, quote(String(picture.message_id)), text("这个"));
    say(3, quote(String(second.message_id)), at(), WHAT);
    expect(await answered()).toEqual([RED]);

    const friend = { friend: 77 };
    const earlier = evening.write(friend, 77, evening.picture("blueSquare"));
    evening.say(friend, 77, quote(String(earlier.message_id)), WHAT);
    expect(await evening.answered(friend)).toEqual([BLUE]);
  });
});

describe("a picture and a question", () => {
  it.each<[string, number, string]>([
    ["the same person", 1, "这是什么图形？"],
    ["somebody else, about the picture", 2, "这张图里有什么？"],
    ["somebody else, without a word", 2, ""],
  ])("belong together when the picture came first: %s", async (_who, asker, words) => {
    const { say, answered, settled } = newGroup();
    say(1, evening.picture("redCircle"));
    say(3, text("哈哈"));
    say(asker, at(), text(` ${words}`));
    expect((await answered())[0]).toMatch(/红色的圆形/u);
    expect(evening.answers({ group: groups })).toHaveLength(1);
    await settled(...evening.answers({ group: groups }));
  });

  it("belong together when the picture comes second, of the same person only", async () => {
    const { say, answered, settled } = newGroup();
    say(1, at(), text(" 这是什么？"));
    say(2, evening.picture("blueSquare"));
    say(1, evening.picture("redCircle"));
    expect(await answered()).toEqual([RED]);
    await settled(RED);
  });

  it("belong together when the bot had to ask for the picture", async () => {
    const { say, answered, settled } = newGroup();
    say(1, at(), text(" 这是什么？"));
    expect(await answered()).toEqual([NO_PICTURE]);
    say(2, evening.picture("blueSquare"));
    say(1, evening.picture("redCircle"));
    expect(await answered(2)).toEqual([NO_PICTURE, RED]);
    say(1, evening.picture("greenTriangle"));
    await settled(NO_PICTURE, RED);
  });

  it("belong together in private, in either order", async () => {
    evening.say({ friend: 78 }, 78, evening.picture("redCircle"));
    evening.say({ friend: 78 }, 78, WHAT);
    evening.say({ friend: 79 }, 79, WHAT);
    evening.say({ friend: 79 }, 79, evening.picture("blueSquare"));
    expect(await evening.answered({ friend: 78 })).toEqual([RED]);
    expect(await evening.answered({ friend: 79 })).toEqual([BLUE]);
  });

  it("of two people at once are not mixed up", async () => {
    const { say, answered, place } = newGroup();
    const asked = new Map<string, string>();
    const ask = (who: number, picture: EveningSegment, answer: string) => {
      const { message_id: id } = say(who, at(), WHAT);
      say(who, picture);
      asked.set(String(id), answer);
    };
    ask(1, evening.picture("redCircle"), RED);
    ask(2, evening.picture("blueSquare"), BLUE);
    ask(3, evening.picture("greenTriangle"), GREEN);
    await answered(3);
    const given = evening
      .sends(place)
      .map((send, index) => [quotedBy(send), evening.answers(place)[index]]);
    expect(new Map(given as [string, string][])).toEqual(asked);
  });

  it("need no link that works: NapCat is asked for a fresh one, or for the bytes", async () => {
    const { write, answered } = newGroup();
    const whole = write(1, at(), evening.picture("redCircle"), WHAT);
    const stale = {
      type: "image",
      data: { file: "_redCircle.png", url: evening.pictures.url("/gone") },
    };
    evening.napcat.push({ ...whole, message: [at(), stale, WHAT] });
    expect(await answered()).toEqual([RED]);
  });
});

describe("a merged forward", () => {
  const id = "7403218976543210987";

  it.each([
    ["quoted, looked up by its id", false, true],
    ["quoted, with what it holds", true, true],
    ["sent a moment before", false, false],
    ["sent a moment before, with what it holds", true, false],
  ])("shows its pictures: %s", async (_how, inline, quoted) => {
    const { say, write, answered, settled } = newGroup();
    const inside = [write(5, text("看这个")), write(6, evening.picture("redCircle"))];
    evening.napcat.answer("get_forward_msg", (params) => {
      expect(params.message_id ?? params.id).toBe(id);
      return { messages: inside };
    });
    const { data } = forward(id);
    const sent = say(1, { type: "forward", data: inline ? { ...data, content: inside } : data });
    say(1, ...(quoted ? [quote(String(sent.message_id))] : []), at(), WHAT);
    expect(await answered()).toEqual([RED]);
    await settled(RED);
  });
});

describe("a recall", () => {
  it("in the merge window leaves nothing to answer", async () => {
    const { say, settled } = newGroup();
    evening.takeBack(say(1, at(), evening.picture("redCircle"), WHAT));
    await settled();
  });

  it("of the picture that came behind the question ends it; of other words it does not", async () => {
    const first = newGroup();
    first.say(1, at(), WHAT);
    evening.takeBack(first.say(1, evening.picture("redCircle")));
    await first.settled();
    const second = newGroup();
    second.say(1, at(), evening.picture("redCircle"), WHAT);
    evening.takeBack(second.say(1, text("打错了")));
    expect(await second.answered()).toEqual([RED]);
  });

  it("while the picture is on its way leaves nothing to answer", async () => {
    const { say, settled } = newGroup();
    const question = say(1, at(), evening.slowPicture("redCircle"), WHAT);
    await evening.asked("redCircle");
    evening.takeBack(question);
    evening.release();
    await settled();
  });

  it("of the quoted picture while that is on its way leaves nothing to answer", async () => {
    const { say, settled } = newGroup();
    const picture = say(1, evening.slowPicture("blueSquare"));
    say(2, quote(String(picture.message_id)), at(), WHAT);
    await evening.asked("blueSquare");
    evening.takeBack(picture);
    evening.release();
    await settled();
  });

  it("of a picture takes it out of what may be meant", async () => {
    const { say, answered } = newGroup();
    evening.takeBack(say(1, evening.picture("blueSquare")));
    say(1, at(), WHAT);
    expect(await answered()).toEqual([NO_PICTURE]);
  });

  it("works in private, and with strings for ids", async () => {
    const friend = { friend: 81 };
    const taken = evening.say(friend, 81, text("你好"));
    evening.takeBack({ ...taken, message_id: String(taken.message_id) as unknown as number });
    evening.say(friend, 81, evening.picture("redCircle"), WHAT);
    expect(await evening.answered(friend)).toEqual([RED]);
  });
});

describe("a mute", () => {
  it.each([
    ["of the bot", undefined],
    ["of the whole group", 0],
  ])("%s means silence until it is lifted, to commands too", async (_whose, user) => {
    const { number, say, answered } = newGroup();
    evening.mute(number, 600, user);
    const muted = [say(1, at(), evening.picture("redCircle"), WHAT), say(1, text("/帮助"))];
    evening.mute(number, 0, user);
    for (const message of muted) evening.napcat.push(message);
    say(2, at(), evening.picture("blueSquare"), WHAT);
    expect(await answered()).toEqual([BLUE]);
  });

  it("in the middle of a question ends it for good", async () => {
    const { number, say, settled } = newGroup();
    say(1, at(), evening.slowPicture("greenTriangle"), WHAT);
    await evening.asked("greenTriangle");
    evening.mute(number, 600);
    evening.release();
    evening.mute(number, 0);
    await settled();
  });

  it("of somebody else changes nothing", async () => {
    const { number, say, person, answered } = newGroup();
    evening.mute(number, 600, person(5));
    say(1, at(), evening.picture("redCircle"), WHAT);
    expect(await answered()).toEqual([RED]);
  });
});

describe("commands", () => {
  it("/帮助 lists them, typed in whatever way, and in private", async () => {
    const { say, answered } = newGroup();
    say(1, text("/帮助"));
    say(2, at(), text(" /help"));
    say(3, text("／帮助 "));
    for (const help of await answered(3))
      expect(help).toMatch(/\/帮助 \/help[\s\S]*\/重置 \/reset/u);
    evening.say({ friend: 82 }, 82, text("/帮助"));
    expect((await evening.answered({ friend: 82 }))[0]).toContain("/帮助");
  });

  it("/reset forgets what was said and shown", async () => {
    const { say, answered } = newGroup();
    say(1, at(), evening.picture("redCircle"), WHAT);
    expect(await answered()).toEqual([RED]);
    say(1, at(), text(" 它是什么颜色？"));
    expect((await answered(2))[1]).toBe("红色。");
    say(1, text("/reset"));
    expect((await answered(3))[2]).toBe(ANEW);
    say(1, at(), text(" 它是什么颜色？"));
    expect((await answered(4))[3]).toBe(NO_PICTURE);
  });

  it("/停止 ends a question whose picture is on its way", async () => {
    const { say, answered, settled } = newGroup();
    say(1, at(), evening.slowPicture("yellowStar"), WHAT);
    await evening.asked("yellowStar");
    say(1, text("/停止"));
    const [stopped = ""] = await answered();
    evening.release();
    await settled(stopped);
  });
});

it("hears nothing in @all, typed codes, other people's mentions and its own words", async () => {
  const { place, say, settled } = newGroup();
  say(1, at("all"), text(" 大家好"));
  say(1, text("[CQ:at,qq=3000000001] 你好"));
  say(2, at("999"), text(" 你好"));
  evening.say(place, 3000000001, at(), text(" 你好"));
  await settled();
});

it("a flood is answered as far as there is room, in order, and told once that it is too much", async () => {
  const { number, say, place } = newGroup();
  const asked: SaidMessage[] = [];
  for (let index = 0; index < 40; index++) {
    const picture = evening.picture(index % 2 === 0 ? "redCircle" : "blueSquare");
    asked.push(say(100 + index, at(), picture, WHAT));
  }
  const answers = () => evening.answers(place).filter(isAnswer);
  await evening.napcat.until(() => answers().length >= 5);
  expect(answers().filter((answer) => answer === BUSY)).toHaveLength(1);
  expect(answers().filter((answer) => answer !== BUSY)).toEqual([RED, BLUE, RED, BLUE]);
  const said = evening.answers(place);
  const answeredIds = evening
    .sends(place)
    .filter((_send, index) => isAnswer(said[index] ?? "") && said[index] !== BUSY)
    .map(quotedBy);
  expect(answeredIds).toEqual(asked.slice(0, 4).map(({ message_id: id }) => String(id)));
  const complaints = evening.bot.output.split("\n").filter((line) => /QueueFullError/.test(line));
  expect(complaints.filter((line) => line.includes(`group:${number}`))).toHaveLength(1);
});

it("200 messages of five groups at once leave heartbeats answered and the connection as it is", async () => {
  const connections = evening.napcat.tokens.length;
  const five = Array.from({ length: 5 }, newGroup);
  for (let index = 0; index < 200; index++) {
    const { say } = five[index % 5]!;
    if (index % 4 === 0) say(200 + index, at(), evening.picture("redCircle"), WHAT);
    else say(index % 20, text("哈哈"), evening.picture("blueSquare"));
  }
  await evening.napcat.pinged();
  // The place of the last question tells that all before it was heard.
  for (const { place } of five)
    await evening.napcat.until(() => evening.answers(place).filter(isAnswer).length >= 5);
  await evening.napcat.pinged();
  expect(evening.napcat.tokens).toHaveLength(connections);
  for (const { place } of five) {
    const answers = evening.answers(place).filter(isAnswer);
    expect(answers.toSorted()).toEqual([BUSY, RED, RED, RED, RED].toSorted());
  }
});

it("after a reconnect, nothing that QQ replays is answered again, and new questions are", async () => {
  const { say, answered, settled } = newGroup();
  say(1, at(), evening.picture("redCircle"), WHAT);
  await answered();
  const before = new Map(
    [...evening.said.values()].map((message) => [
      placeOf(message),
      evening.answers(placeOf(message)),
    ]),
  );
  await evening.reconnect([...evening.said.values()]);
  await settled(RED);
  for (const [place, answers] of before) {
    if ("group" in place && place.group === groups) continue;
    expect(evening.answers(place), JSON.stringify(place)).toEqual(answers);
  }
});

it("shows no secret: not in a chat, a log, the numbers or the status", async () => {
  const { say, write, answered } = newGroup();
  const image = (file: string, path: string) => ({
    type: "image",
    data: { file: `${SECRET}${file}`, url: evening.pictures.url(`${path}?rkey=${SECRET}`) },
  });
  const asBefore = evening.napcat.instead("get_image", () => {
    throw `file:///home/${SECRET}/a.png is missing, token=${SECRET}`;
  });
  const named = write(1, at(), image("0011223344556677.png", "/gone"), text(` ${SECRET}？`));
  evening.napcat.push({ ...named, group_name: SECRET, sender: { nickname: SECRET, card: SECRET } });
  say(2, quote(SECRET), at(), text(" 在吗"));
  await answered(2);
  asBefore();
  const sendsAgain = evening.napcat.instead("send_group_msg", () => {
    throw `no right to send: ${SECRET}`;
  });
  say(3, at(), text(" 你好"));
  await answered(3);
  sendsAgain();
  const [, page = ""] = await evening.bot.printed(/(http:\/\/127\.0\.0\.1:\d+)/u);
  const look = async (path: string) => {
    const headers = { Authorization: `Bearer ${SECRET}` };
    const response = await fetch(`${page}${path}`, { headers });
    expect(response.status, path).toBe(200);
    return response.text();
  };
  const seen = [await look("/api/status"), await look("/metrics"), evening.bot.output];
  const said = evening.napcat.requests.filter(({ action }) => action.startsWith("send_"));
  for (const shown of [...seen, JSON.stringify(said)]) {
    // The directory of chats is named at the start, for whoever started it.
    expect(shown.replace(/^.*chats .*$/mu, "")).not.toContain(SECRET);
  }
});

function placeOf({ group_id, user_id }: SaidMessage): Place {
  return group_id === undefined ? { friend: user_id } : { group: group_id };
}
