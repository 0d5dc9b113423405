// What is measured through the public API: pictures, prompts, answers for one chat and for many, and what is saved
// when something was seen before. In: a run. Out: its figures. Nothing here knows how the engine works inside.

import type { ChatMessage } from "../../vlm/index.ts";
import { type Answer, stepsOf } from "./ask.ts";
import type { BenchRun } from "./bench-run.ts";

const PICTURES = [
  [256, 256],
  [448, 448],
  [1024, 768],
] as const;
const PROMPTS = [64, 512, 2048];
const CONTEXTS = [128, 1024, 4096];
const CHATS = [1, 2, 4, 8];
const ANSWER_TOKENS = 24;
const QUESTION_WORDS = 16;
/** A conversation of about 700 tokens with one picture of 196. */
const CONVERSATION_WORDS = 470;

/** Most tokens that a scenario needs room for. */
export const CONTEXT_TOKENS = 4096 + 2 * ANSWER_TOKENS;
export const MAX_IMAGE_TOKENS = 1024;
export const MAX_CHATS = 8;

const ms = (id: string, label: string) => ({ id, label, unit: "ms", better: "less" }) as const;
const rate = (id: string, label: string) => ({ id, label, unit: "tok/s", better: "more" }) as const;

export async function measureVision(run: BenchRun): Promise<void> {
  for (const [width, height] of PICTURES) {
    await run.sample(ms(`vision.${width}x${height}`, `vision ${width} x ${height}`), async () => {
      const picture = run.chat.picture(width, height);
      const { finish } = await run.ask("vision", [run.chat.userWithPicture(picture, 4)]);
      return finish.timings.visionMs;
    });
  }
}

export async function measurePrefill(run: BenchRun): Promise<void> {
  for (const tokens of PROMPTS) {
    await run.sample(rate(`prefill.${tokens}`, `prefill ${tokens} tokens`), async () => {
      const { finish } = await run.ask("prefill", await promptOf(run, tokens));
      return finish.usage.promptTokens / (finish.timings.prefillMs / 1000);
    });
  }
}

export async function measureDecode(run: BenchRun): Promise<void> {
  for (const tokens of CONTEXTS) {
    const name = rate(`decode.context-${tokens}`, `decode at context ${tokens}`);
    const messages = await promptOf(run, tokens);
    await run.sample(name, async () => {
      const answer = await run.ask("decode", messages, ANSWER_TOKENS);
      return stepsOf(answer).map((step) => 1000 / step);
    });
  }
}

/** Several chats at once: what all of them get in a second while all of them write. */
export async function measureChats(run: BenchRun): Promise<void> {
  for (const chats of CHATS) {
    const prompts: ChatMessage[][] = [];
    for (let chat = 0; chat < chats; chat++) prompts.push(await promptOf(run, 128));
    // Once before, so that waiting for each other's prompts is not what is measured.
    await Promise.all(prompts.map((messages) => run.ask("chats", messages)));
    await run.sample(rate(`decode.chats-${chats}`, `decode, ${chats} chats together`), async () => {
      const answers = await Promise.all(
        prompts.map((messages) => run.ask("chats", messages, 2 * ANSWER_TOKENS)),
      );
      return overallRate(answers);
    });
  }
}

/** Eight different questions at the same moment: the slowest first word against the fastest. */
export async function measureFairness(run: BenchRun): Promise<void> {
  const name = {
    id: "chats.slowest-first-word",
    label: "8 questions at once: slowest first word against the fastest",
    unit: "times",
    better: "less",
  } as const;
  await run.sample(name, async () => {
    const prompts: ChatMessage[][] = [];
    for (let chat = 0; chat < MAX_CHATS; chat++) prompts.push(await promptOf(run, 128));
    const answers = await Promise.all(
      prompts.map((messages) => run.ask("chats", messages, ANSWER_TOKENS)),
    );
    const firsts = answers.map(({ firstMs }) => firstMs);
    return Math.max(...firsts) / Math.min(...firsts);
  });
}

/** What is asked again: a follow-up, the same picture in another chat, a question that was warmed. */
export async function measureReuse(run: BenchRun): Promise<void> {
  const { chat } = run;
  const fresh: number[] = [];
  const followUp: number[] = [];
  const newVision: number[] = [];
  const sameVision: number[] = [];
  await run.sample(
    ms("first-word.picture", "first word, picture 448 x 448 and question"),
    async () => {
      const question = chat.userWithPicture(chat.picture(448, 448), QUESTION_WORDS);
      const { firstMs } = await run.ask("first-word", [question]);
      return firstMs;
    },
  );
  await run.sample(
    ms("first-word.whole", "first word, 700 tokens and a picture afresh"),
    async () => {
      const picture = chat.picture(448, 448);
      const history = [
        chat.userWithPicture(picture, CONVERSATION_WORDS / 2),
        chat.assistant(CONVERSATION_WORDS / 2),
        chat.user(QUESTION_WORDS),
      ];
      const first = await run.ask("first-word", history, 4);
      fresh.push(first.firstMs);
      newVision.push(first.finish.timings.visionMs);
      const continued = [
        ...history,
        { role: "assistant", content: first.text } as const,
        chat.user(QUESTION_WORDS),
      ];
      followUp.push((await run.ask("first-word", continued)).firstMs);
      const elsewhere = await run.ask("first-word", [
        chat.userWithPicture(picture, QUESTION_WORDS),
      ]);
      sameVision.push(elsewhere.finish.timings.visionMs);
      return first.firstMs;
    },
  );
  run.add(ms("first-word.follow-up", "first word of a follow-up in the same chat"), followUp);
  run.add(ms("vision.new-picture", "vision of a new picture 448 x 448"), newVision);
  run.add(ms("vision.same-picture", "vision of the same picture in another chat"), sameVision);
}

/** The same kind of question, announced and not announced. */
export async function measureWarm(run: BenchRun): Promise<void> {
  const { chat, model } = run;
  const warm = model.warm?.bind(model);
  if (warm === undefined) {
    run.unavailable("first-word.warmed", "the engine cannot be warmed");
    return;
  }
  await run.sample(ms("first-word.warmed", "first word of a warmed question"), async () => {
    const asked = chat.userWithPicture(chat.picture(448, 448), QUESTION_WORDS);
    await run.watch("warm", () => warm({ messages: [asked] }));
    return (await run.ask("first-word", [asked])).firstMs;
  });
}

/** A request whose prompt has this many tokens. */
async function promptOf(run: BenchRun, tokens: number): Promise<ChatMessage[]> {
  return [run.chat.user(tokens - (await templateTokens(run)))];
}

const overheads = new WeakMap<BenchRun, number>();

/** Tokens that the chat format adds to the words of one message. */
async function templateTokens(run: BenchRun): Promise<number> {
  let overhead = overheads.get(run);
  if (overhead === undefined) {
    const words = 8;
    const { finish } = await run.ask("prefill", [run.chat.user(words)]);
    overhead = finish.usage.promptTokens - words;
    overheads.set(run, overhead);
  }
  return overhead;
}

/** Pieces of text a second, from the first piece of any answer to the last of all. */
function overallRate(answers: readonly Answer[]): number {
  const start = Math.min(...answers.map(({ times }) => times[0]!));
  const end = Math.max(...answers.map(({ times }) => times.at(-1)!));
  const pieces = answers.reduce((sum, { times }) => sum + times.length - 1, 0);
  return pieces / ((end - start) / 1000);
}
