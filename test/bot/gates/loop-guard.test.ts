import { afterEach, describe, expect, it, vi } from "vitest";
import { LoopGuard } from "../../../src/bot/gates/loop-guard.ts";
import { Robots } from "../../../src/bot/gates/robots.ts";
import { NapCatCalls } from "../../../src/bot/napcat/calls.ts";
import { FakeNapCat, groupMessage, privateMessage } from "../../../src/bot/testing.ts";
import { readEvent } from "../../support/events.ts";
import { parseEvent } from "../../support/parse-event.ts";

const by = (userId: number, text = "在吗？") => parseEvent(groupMessage({ userId, text }));

function setUp(admins: readonly string[] = []) {
  let now = 0;
  const options = { exchanges: 3, withinMs: 10_000, quietMs: 5000, askRobots: false };
  const guard = new LoopGuard(options, admins, () => now);
  /** One message of somebody, and an answer to it unless it is refused. */
  const talk = (userId: number, text?: string) => {
    const message = by(userId, text);
    guard.atDoor.refuse(message);
    const refusal = guard.refuse(message);
    if (refusal === undefined) guard.answered(message.chat, message.sender.id);
    return refusal?.reason ?? "answered";
  };
  return { guard, talk, pass: (ms: number) => (now += ms) };
}

describe("LoopGuard", () => {
  it("falls silent after so many exchanges with one alone, and for so long", () => {
    const { talk, pass } = setUp();
    expect([talk(1), talk(1), talk(1), talk(1)]).toEqual([
      "answered",
      "answered",
      "answered",
      "loop",
    ]);
    pass(4999);
    expect(talk(1)).toBe("loop");
    pass(1);
    expect(talk(1)).toBe("answered");
  });

  it("is ended by anybody else who speaks", () => {
    const { talk } = setUp();
    const said = [1, 1, 2, 1, 1, 1, 1, 2, 1].map((userId) => talk(userId));
    expect(said.filter((what) => what === "loop")).toHaveLength(1);
    expect(said[6]).toBe("loop");
    expect(said[8]).toBe("answered");
  });

  it("does not mind a talk at the pace of people", () => {
    const { talk, pass } = setUp();
    for (let index = 0; index < 20; index++) {
      expect(talk(1)).toBe("answered");
      pass(5001);
    }
  });

  it("does not answer its own words, however they are spaced, and knows them by chat", () => {
    const { guard, talk } = setUp();
    const { chat } = by(1);
    guard.said(chat, "图里有一只橘猫，\n在晒太阳。");
    guard.said(chat, "好的。");
    expect(talk(1, "图里有一只橘猫， 在晒太阳。")).toBe("echo");
    expect(talk(1, "好的。")).toBe("answered");
    const inPrivate = parseEvent(privateMessage({ text: "图里有一只橘猫，在晒太阳。" }));
    expect(guard.refuse(inPrivate)).toBeUndefined();
  });

  it("trusts admins", () => {
    const { talk } = setUp(["1"]);
    expect(Array.from({ length: 9 }, () => talk(1))).not.toContain("loop");
  });
});

describe("Robots", () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it("asks once about a person, from the cache of QQ, and refuses bots", async () => {
    const napcat = new FakeNapCat();
    const { data } = readEvent("api_get_group_member_info_ok") as { data: object };
    napcat.answer("get_group_member_info", ({ user_id }) => ({ ...data, is_robot: user_id === 2 }));
    const robots = new Robots(new NapCatCalls(napcat));
    const asked = [by(1), by(2), by(1), by(2)].map((message) => robots.refuse(message));
    const robot = { reason: "robot" };
    expect(await Promise.all(asked)).toEqual([undefined, robot, undefined, robot]);
    expect(napcat.calls.map(({ params }) => params)).toEqual(
      [1, 2].map((user_id) => ({ group_id: 700000003, user_id, no_cache: false })),
    );
  });

  it("does not keep people waiting for the answer, which counts later", async () => {
    vi.useFakeTimers();
    const napcat = new FakeNapCat();
    let answer: (member: object) => void = () => {};
    napcat.answer("get_group_member_info", () => new Promise((resolve) => (answer = resolve)));
    const robots = new Robots(new NapCatCalls(napcat));
    const first = robots.refuse(by(2));
    await vi.advanceTimersByTimeAsync(500);
    expect(await first).toBeUndefined();
    answer({ is_robot: true });
    await vi.advanceTimersByTimeAsync(0);
    expect(await robots.refuse(by(2))).toEqual({ reason: "robot" });
  });

  it("asks no more where the server does not know the question, and never in private", async () => {
    const napcat = new FakeNapCat();
    const robots = new Robots(new NapCatCalls(napcat));
    expect(await robots.refuse(by(1))).toBeUndefined();
    expect(await robots.refuse(by(2))).toBeUndefined();
    expect(await robots.refuse(parseEvent(privateMessage()))).toBeUndefined();
    expect(napcat.calls).toHaveLength(1);
  });
});
