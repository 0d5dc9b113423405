// Queue, merge window and cancellation against a plain account of who said what: any order of messages, recalls, mutes,
// stops, answers and time. Every question settles once, and nobody hears of what was cancelled.

import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { QueuePolicy } from "../../src/bot/index.ts";
import { type InstalledVlm, installVlm } from "../../src/bot/install-vlm.ts";
import { BOT_ID, FakeNapCat, groupMessage, privateMessage } from "../../src/bot/testing.ts";
import type { GenerateRequest } from "../../src/vlm/index.ts";
import { FakeVisionLanguageModel } from "../../src/vlm/testing.ts";
import { holds } from "../support/fuzz.ts";

type Step =
  | {
      readonly kind: "say";
      readonly place: number;
      readonly user: number;
      readonly mentions: boolean;
    }
  | { readonly kind: "recall"; readonly which: number }
  | { readonly kind: "mute" | "unmute" | "kick" | "join"; readonly group: number }
  | { readonly kind: "offline" | "online" }
  | { readonly kind: "finish" | "fail"; readonly which: number }
  | { readonly kind: "wait"; readonly ms: number };

const PRIVATE = 0;
const user = fc.integer({ min: 1, max: 3 });
const place = fc.integer({ min: PRIVATE, max: 2 });
const group = fc.integer({ min: 1, max: 2 });
const which = fc.nat(30);

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 14,
    arbitrary: fc.record({ kind: fc.constant("say"), place, user, mentions: fc.boolean() }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("recall"), which }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom("mute", "unmute", "unmute", "kick", "join"),
      group,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom("offline", "online", "online", "online") }),
  },
  { weight: 5, arbitrary: fc.record({ kind: fc.constantFrom("finish", "finish", "fail"), which }) },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("wait"), ms: fc.integer({ min: 0, max: 4000 }) }),
  },
) as fc.Arbitrary<Step>;

/** What was said, by its number: every text is one of a kind. */
interface Said {
  readonly place: number;
  readonly user: number;
  recalled: boolean;
}

/** A request the model has, and how to end it. */
interface Asked {
  readonly request: GenerateRequest;
  readonly pieces: readonly number[];
  readonly place: number;
  settled: boolean;
  sent: boolean;
  end(answer: string | Error): void;
}

/** The bot with a model that answers when it is told, and an account of everything. */
class World {
  readonly napcat = new FakeNapCat();
  readonly said: Said[] = [];
  readonly asked: Asked[] = [];
  readonly #muted = new Set<number>();
  readonly #problems: string[] = [];
  readonly #bot: InstalledVlm;

  constructor(queuePolicy: QueuePolicy) {
    const model = new FakeVisionLanguageModel({ answer: (request) => this.#ask(request) });
    for (const action of ["send_group_msg", "send_private_msg"]) {
      this.napcat.answer(action, ({ message }) => this.#send(JSON.stringify(message)));
    }
    this.#bot = installVlm(this.napcat, {
      model,
      queuePolicy,
      systemPrompt: "",
      maxMessageAgeMs: Infinity,
      reply: { gapMs: 0, jitterMs: 0 },
      // Nothing that is stuck gets loose by itself.
      turnTimeoutMs: 2 ** 31 - 1,
      logger: { debug() {}, info() {}, warn() {}, error() {} },
    });
  }

  #ask(request: GenerateRequest): Promise<string | Error> {
    const pieces = tokens(JSON.stringify(request.messages.at(-1)?.content));
    const of = pieces.map((piece) => this.said[piece]);
    this.#check(pieces.length > 0 && pieces.length <= 10, `${pieces.length} pieces`);
    this.#check(new Set(of.map((one) => `${one?.place}/${one?.user}`)).size === 1, "people merged");
    this.#check(
      pieces.every((piece, index) => index === 0 || piece > (pieces[index - 1] ?? 0)),
      "order",
    );
    for (const token of tokens(JSON.stringify(request.messages))) {
      this.#check(this.said[token]?.recalled === false, `recalled ${token} is still known`);
    }
    const here = of[0]?.place ?? -1;
    const beside = this.asked.filter(({ place, settled, request }) => {
      return place === here && here !== PRIVATE && !settled && !request.signal?.aborted;
    });
    this.#check(beside.length === 0, "two answers at once in one chat");
    this.#check(!this.#muted.has(here), "an answer for a group that cannot hear it");
    for (const earlier of this.asked) {
      this.#check(!earlier.pieces.some((piece) => pieces.includes(piece)), "answered twice");
    }
    return new Promise((resolve) => {
      const asked: Asked = {
        request,
        pieces,
        place: here,
        settled: false,
        sent: false,
        end: (answer) => {
          asked.settled = true;
          resolve(answer);
        },
      };
      this.asked.push(asked);
    });
  }

  #send(message: string) {
    const [answered] = [...message.matchAll(/A(\d+)E/gu)].map(([, index]) => Number(index));
    if (answered === undefined) return { message_id: 1 };
    const asked = this.asked[answered];
    this.#check(asked?.sent === false, "sent twice");
    this.#check(asked?.request.signal?.aborted === false, "sent after its end");
    this.#check(!this.#muted.has(asked?.place ?? -1), "sent to a group that cannot hear it");
    if (asked !== undefined) asked.sent = true;
    return { message_id: 1 };
  }

  async take(step: Step): Promise<void> {
    this.#do(step);
    await this.#settle();
  }

  #do(step: Step): unknown {
    const notice = { self_id: BOT_ID, post_type: "notice" };
    switch (step.kind) {
      case "say":
        return this.#say(step.place, step.user, step.mentions);
      case "recall": {
        const messageId = step.which % (this.said.length + 1);
        const said = this.said[messageId];
        if (said === undefined) return undefined;
        said.recalled = true;
        const where =
          said.place === PRIVATE
            ? { notice_type: "friend_recall", user_id: said.user }
            : { notice_type: "group_recall", user_id: said.user, group_id: said.place };
        return this.napcat.receive({ ...notice, ...where, message_id: messageId + 1 });
      }
      case "mute":
      case "unmute": {
        const sub_type = step.kind === "mute" ? "ban" : "lift_ban";
        if (step.kind === "mute") this.#muted.add(step.group);
        else this.#muted.delete(step.group);
        const ban = { notice_type: "group_ban", sub_type, user_id: 0, group_id: step.group };
        return this.napcat.receive({ ...notice, ...ban, duration: step.kind === "mute" ? -1 : 0 });
      }
      case "kick":
        this.napcat.receive({
          ...notice,
          notice_type: "group_decrease",
          sub_type: "kick_me",
          user_id: BOT_ID,
          group_id: step.group,
        });
        return this.#do({ kind: "join", group: step.group });
      case "join":
        this.#muted.delete(step.group);
        return this.napcat.receive({
          ...notice,
          notice_type: "group_increase",
          sub_type: "invite",
          user_id: BOT_ID,
          group_id: step.group,
        });
      case "offline":
      case "online":
        return this.napcat.receive({
          ...notice,
          post_type: "meta_event",
          meta_event_type: "heartbeat",
          status: { online: step.kind === "online", good: true },
        });
      case "finish":
      case "fail": {
        const open = this.asked.filter(({ settled }) => !settled);
        const asked = open[step.which % Math.max(1, open.length)];
        const answer = `A${this.asked.indexOf(asked as Asked)}E`;
        asked?.end(step.kind === "finish" ? answer : new Error("the model failed"));
        return undefined;
      }
      case "wait":
        vi.advanceTimersByTime(step.ms);
        return undefined;
      default:
        step satisfies never;
    }
  }

  #say(place: number, userId: number, mentionsBot: boolean): unknown {
    const index = this.said.push({ place, user: userId, recalled: false }) - 1;
    const text = `M${index}E`;
    const message = { text, userId, messageId: index + 1 };
    if (place === PRIVATE) return this.napcat.receive(privateMessage(message));
    return this.napcat.receive(groupMessage({ ...message, groupId: place, mentionsBot }));
  }

  /** Lets everything come to its end, and asks whether the bot still works in every chat. */
  async end(): Promise<readonly string[]> {
    await this.take({ kind: "online" });
    for (const group of [1, 2]) await this.take({ kind: "join", group });
    await this.#drain();
    const before = this.asked.length;
    for (const place of [PRIVATE, 1, 2]) {
      await this.take({ kind: "say", place, user: 1, mentions: true });
    }
    await this.#drain();
    this.#check(this.asked.length === before + 3, "a chat that answers no more");
    this.#check(
      this.asked.slice(before).every(({ sent }) => sent),
      "an answer that never came",
    );
    // What hangs would not be found by waiting for it.
    const idle = this.#bot.idle().then(() => true);
    const soon = this.#settle().then(() => false);
    this.#check(await Promise.race([idle, soon]), "a turn without an end");
    const closing = this.#bot.close();
    for (let round = 0; round < 6; round++) await this.take({ kind: "wait", ms: 1000 });
    await closing;
    this.#check(this.napcat.listeners === 0, "listeners left behind");
    return this.#problems;
  }

  async #drain(): Promise<void> {
    for (let round = 0; round < 60; round++) {
      await this.take({ kind: "wait", ms: 7000 });
      await this.take({ kind: "finish", which: 0 });
    }
  }

  async #settle(): Promise<void> {
    for (let round = 0; round < 4; round++) await new Promise(setImmediate);
  }

  #check(fine: boolean, problem: string): void {
    if (!fine) this.#problems.push(problem);
  }
}

function tokens(text: string): number[] {
  return [...text.matchAll(/M(\d+)E/gu)].map(([, index]) => Number(index));
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("turns", () => {
  it.each(["queue", "replace", "reject"] as const)(
    "settle once, in order, and in silence once they are cancelled (%s)",
    async (policy) => {
      await holds(
        fc.asyncProperty(
          fc.array(step, { minLength: 20, maxLength: 80, size: "max" }),
          async (steps) => {
            const world = new World(policy);
            for (const step of steps) await world.take(step);
            expect(await world.end()).toEqual([]);
          },
        ),
        25,
      );
    },
    600_000,
  );
});
