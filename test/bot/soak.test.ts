// Fifty groups for a while: floods, recalls, mutes, kicks, stops, bad and slow pictures, a model that fails, bots that
// come and go, all at random. SOAK_SECONDS long (`npm run soak`: five minutes, another seed each time); the seed is
// printed, and SOAK_SEED repeats it. In: events. Out: every turn ends once, nothing is said that was taken back, and
// memory is as before.

import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { type InstalledVlm, installVlm } from "../../src/bot/install-vlm.ts";
import { BOT_ID, FakeNapCat, groupMessage, privateMessage } from "../../src/bot/testing.ts";
import { Random } from "../../src/vlm/engine/random.ts";
import { FakeVisionLanguageModel } from "../../src/vlm/testing.ts";
import type { GenerateRequest, StreamPart } from "../../src/vlm/vision-language-model.ts";
import { PIXEL_PNG } from "../support/events.ts";
import { FINISHED } from "../support/finished.ts";
import { leastGrowth } from "../support/flat-memory.ts";
import { startPictureServer } from "../support/picture-server.ts";

const SECONDS = Number(process.env.SOAK_SECONDS ?? 20);
const SEED = Number(process.env.SOAK_SEED ?? 20_261_126);
const GROUPS = 50;
const PEOPLE = 200;

/** What an answer says which words it is about: `#12#`. */
const MARK = /#(\d+)#/gu;

interface Said {
  readonly group: number;
  readonly messageId: number;
  readonly mark: string;
  readonly userId: number;
}

/** One evening: groups, what was said there, and what must not be said any more. */
class Evening {
  readonly napcat = new FakeNapCat();
  readonly violations: string[] = [];
  readonly counts = { events: 0, sent: 0, answers: 0 };
  readonly #random: Random;
  readonly #pictures: readonly string[];
  /** Marks of messages that were taken back. */
  readonly #recalled = new Set<string>();
  /** Groups in which the bot cannot speak. */
  readonly #silent = new Set<number>();
  /** Messages of the last while: where, which, with which mark. */
  readonly #said: Said[] = [];
  #lastId = 1_000_000;

  constructor(random: Random, pictures: readonly string[]) {
    this.#random = random;
    this.#pictures = pictures;
    for (const action of ["send_group_msg", "send_private_msg"]) {
      this.napcat.answer(action, (params) => this.#sent(params));
    }
    this.napcat.answer("get_msg", () => {
      throw { status: "failed", retcode: 1200, data: null, message: "消息不存在" };
    });
  }

  pick(count: number): number {
    return Math.floor(this.#random.next() * count);
  }

  /** The model: about the marks of the newest question; slow, failing or endless now and then. */
  async *answer(request: GenerateRequest): AsyncGenerator<StreamPart> {
    const question = JSON.stringify(request.messages.at(-1)?.content);
    const marks = [...new Set(question.match(MARK) ?? [])];
    if (this.pick(20) === 0) throw new Error("the model failed");
    for (const text of ["答", ...marks, "。"]) {
      if (this.pick(3) === 0) await sleep(this.pick(40), undefined, { ref: false });
      yield { type: "text-delta", text };
    }
    this.counts.answers++;
    yield FINISHED;
  }

  /** Something happens. */
  step(): void {
    this.counts.events++;
    const choice = this.pick(100);
    if (choice < 45) this.#talk(this.pick(GROUPS));
    else if (choice < 50) for (let flood = 0; flood < 12; flood++) this.#talk(this.pick(3));
    else if (choice < 65) this.#chatter();
    else if (choice < 78) this.#recall();
    else if (choice < 84) this.#mute();
    else if (choice < 88) this.#unmute();
    else if (choice < 90) this.#stop();
    else if (choice < 92) this.#replay();
    else this.#private();
  }

  /** Everybody may speak again, and nothing comes twice: the next bot has heard of nothing that was before it. */
  calm(): void {
    this.#said.length = 0;
    for (const group of [...this.#silent]) this.#ban(group, 0);
  }

  #talk(group: number): void {
    const messageId = ++this.#lastId;
    const mark = `#${messageId}#`;
    const userId = 20_000 + this.pick(PEOPLE);
    const event = groupMessage({
      groupId: 700 + group,
      userId,
      messageId,
      mentionsBot: true,
      text: mark,
      ...(this.pick(4) === 0 ? { images: [PIXEL_PNG] } : {}),
    });
    const url = this.#pictures[this.pick(this.#pictures.length)];
    const message = event.message as object[];
    if (this.pick(5) === 0) message.push({ type: "image", data: { file: "a.png", url } });
    this.#remember({ group: 700 + group, messageId, mark, userId });
    this.napcat.receive(event);
  }

  /** What is for nobody, pictures among it: no download may come of it. */
  #chatter(): void {
    const [url] = this.#pictures;
    const event = groupMessage({ groupId: 700 + this.pick(GROUPS), text: "大家早" });
    (event.message as object[]).push({
      type: "image",
      data: { file: "a.png", url: `${url}?idle` },
    });
    this.napcat.receive(event);
  }

  #private(): void {
    const text = `#${++this.#lastId}#`;
    this.napcat.receive(privateMessage({ userId: 20_000 + this.pick(PEOPLE), text }));
  }

  #recall(): void {
    const said = this.#said[this.pick(this.#said.length)];
    if (said === undefined) return;
    this.#recalled.add(said.mark);
    this.napcat.receive({
      post_type: "notice",
      notice_type: "group_recall",
      self_id: BOT_ID,
      group_id: said.group,
      user_id: said.userId,
      operator_id: said.userId,
      message_id: said.messageId,
      time: Math.floor(Date.now() / 1000),
    });
  }

  #mute(): void {
    this.#ban(700 + this.pick(GROUPS), 600);
  }

  #unmute(): void {
    const [group] = this.#silent;
    if (group !== undefined) this.#ban(group, 0);
  }

  #ban(group: number, duration: number): void {
    this.napcat.receive({
      post_type: "notice",
      notice_type: "group_ban",
      sub_type: duration > 0 ? "ban" : "lift_ban",
      self_id: BOT_ID,
      group_id: group,
      user_id: BOT_ID,
      operator_id: 1,
      duration,
      time: Math.floor(Date.now() / 1000),
    });
    if (duration > 0) this.#silent.add(group);
    else this.#silent.delete(group);
  }

  #stop(): void {
    const groupId = 700 + this.pick(GROUPS);
    this.napcat.receive(
      groupMessage({ groupId, userId: 20_000, mentionsBot: true, text: "/stop" }),
    );
  }

  /** A message QQ delivers again. */
  #replay(): void {
    const said = this.#said[this.pick(this.#said.length)];
    if (said === undefined) return;
    const { group: groupId, messageId, userId } = said;
    this.napcat.receive(
      groupMessage({ groupId, messageId, userId, mentionsBot: true, text: said.mark }),
    );
  }

  #remember(said: Said): void {
    this.#said.push(said);
    // What was taken back is watched for longer than anything takes to answer.
    if (this.#said.length > 400) this.#recalled.delete(this.#said.shift()!.mark);
  }

  #sent(params: Readonly<Record<string, unknown>>): object {
    this.counts.sent++;
    const text = JSON.stringify(params.message);
    for (const mark of text.match(MARK) ?? []) {
      if (this.#recalled.has(mark))
        this.violations.push(`said ${mark}, which was taken back: ${text}`);
    }
    if (this.#silent.has(Number(params.group_id))) {
      this.violations.push(`spoke in group ${params.group_id}, where it is muted: ${text}`);
    }
    if (this.pick(30) === 0) throw { status: "failed", retcode: 1200, message: "发送失败" };
    return { message_id: ++this.#lastId };
  }
}

it(
  `survives an evening of ${SECONDS} s in ${GROUPS} groups`,
  async () => {
    console.log(`soak: SOAK_SEED=${SEED} SOAK_SECONDS=${SECONDS}`);
    const server = await startPictureServer({
      "/good": PIXEL_PNG,
      "/slow": (_request, response) => {
        setTimeout(() => response.end(Buffer.from(PIXEL_PNG)), 60).unref();
      },
      "/bad": (_request, response) => response.end("not a picture"),
    });
    const pictures = ["/good", "/slow", "/bad", "/missing"].map((path) => server.url(path));
    const evening = new Evening(new Random(SEED), pictures);
    const rejections: unknown[] = [];
    const onRejection = (reason: unknown) => rejections.push(reason);
    process.on("unhandledRejection", onRejection);
    const begun = { turns: 0 };
    const ended = { turns: 0 };
    const model = new FakeVisionLanguageModel({ answer: (request) => evening.answer(request) });

    const install = () =>
      installVlm(evening.napcat, {
        model,
        systemPrompt: "",
        logger: { debug() {}, info() {}, warn() {}, error() {} },
        merge: { windowMs: 15 },
        reply: { gapMs: 0, jitterMs: 0 },
        history: { maxTurns: 2, maxImages: 2, maxChats: 60 },
        images: { extraHosts: [server.host], allowPrivateAddresses: true, timeoutMs: 2_000 },
        breaker: { failures: 0 },
        limits: { personPerMinute: 0, groupPerMinute: 0, totalPerMinute: 600 },
        turnTimeoutMs: 10_000,
      });

    /** Closes a bot and adds its books: every turn that began has ended, once. */
    const closeBooks = async (bot: InstalledVlm) => {
      await bot.close();
      const { numbers, turns } = await bot.watched.status();
      expect(turns).toEqual([]);
      const of = (name: string) =>
        numbers.filter((one) => one.name === name).reduce((sum, one) => sum + one.value, 0);
      begun.turns += of("napcat_vlm_turns_begun_total");
      ended.turns += of("napcat_vlm_turns_total");
    };

    const play = async (milliseconds: number) => {
      let bot = install();
      const until = performance.now() + milliseconds;
      // As much as a test has to see, however slow the machine is.
      const enough = evening.counts.events + milliseconds / 100;
      while (performance.now() < until || evening.counts.events < enough) {
        evening.step();
        await sleep(evening.pick(4));
        // Now and then the bot is closed in the middle of everything, and another one takes over.
        if (evening.pick(2000) === 0) {
          evening.calm();
          await closeBooks(bot);
          bot = install();
        }
      }
      evening.calm();
      await bot.idle();
      await closeBooks(bot);
    };

    const ROUNDS = 4;
    const round = async () => {
      await play((SECONDS * 1000) / (ROUNDS + 1));
      // Requests hold whole histories: they are the test's own.
      model.requests.length = 0;
      evening.napcat.calls.length = 0;
    };
    const grown = await leastGrowth(round, { rounds: ROUNDS, of: "heapUsed" });
    process.off("unhandledRejection", onRejection);
    await server.close();
    console.log(
      `soak: ${JSON.stringify(evening.counts)}, ${begun.turns} turns, ` +
        `heap grown by ${(grown / 2 ** 20).toFixed(1)} MiB`,
    );

    expect(evening.violations).toEqual([]);
    expect(rejections).toEqual([]);
    expect(begun.turns).toBeGreaterThan(SECONDS * 5);
    expect(ended.turns).toBe(begun.turns);
    expect(evening.counts.sent).toBeGreaterThan(SECONDS);
    expect(server.requests.filter((path) => path.includes("idle"))).toEqual([]);
    expect(evening.napcat.listeners).toBe(0);
    expect(grown).toBeLessThan(2 ** 20);
  },
  (SECONDS + 240) * 1000,
);
