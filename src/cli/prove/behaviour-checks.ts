// The tiny chat model on a device, through the door that every program uses: is it right, can it be stopped, does it
// survive want of memory, does it leave the event loop alone? In: a device. Out: checks.

import { join } from "node:path";
import { packagePath } from "../../package-root.ts";
import type { Precision } from "../../vlm/convert/linear-layers.ts";
import { loadQwen3Vl, type VisionLanguageModel } from "../../vlm/index.ts";
import { type Device, deviceKind, openDevice } from "../../vlm/runtime/device.ts";
import { watchEventLoop } from "../bench/event-loop-gaps.ts";
import type { Checks } from "./check.ts";
import { type DrawnQuestion, drawnQuestions } from "./drawn-questions.ts";

/** Of sixty. The model itself, in f32 on a CPU, gets all of them. */
const RIGHT_ANSWERS = 58;
/**
 * Longest time for which a device may hold up the event loop. A CPU, or a software driver in the place of a card, takes
 * the cores that the loop needs.
 */
const LONGEST_GAP_MS = { cuda: 5, webgpu: 1000, cpu: 250 } as const;
/** Questions asked at once: enough for batches. WebGPU compiles shaders for every number of chats that answer. */
const AT_ONCE = { cuda: 6, webgpu: 3, cpu: 6 } as const;
const TOO_LITTLE_BYTES = 2 ** 20;

/** Requests without growth; the first of them fill buffers and caches. */
const MANY = 200;
const WARM = 20;
const MOST_GROWTH_BYTES = 64 * 2 ** 20;

export interface BehaviourWork {
  readonly checks: Checks;
  readonly device: Device;
  readonly precision: Precision;
  /** For packages; everything in it is the caller's to remove. */
  readonly directory: string;
  /** The short form leaves out what takes minutes through a software driver. */
  readonly quick: boolean;
  /** Aborting ends what is being asked. */
  readonly signal: AbortSignal;
}

/** @returns milliseconds of a question, several being asked at once; undefined where the model cannot be loaded */
export async function checkBehaviour(work: BehaviourWork): Promise<number | undefined> {
  const { checks, device, precision, directory, quick, signal } = work;
  const options = {
    model: packagePath("examples/tiny-chat"),
    packageDir: join(directory, `tiny-chat-${precision}`),
    device,
    precision,
    signal,
    onWarning: () => {},
  };
  const name = (what: string) => `${what} (${precision})`;
  let model: VisionLanguageModel | undefined;
  await checks.run(name("loads the tiny chat model"), async () => {
    const start = performance.now();
    model = await loadQwen3Vl(options);
    return { ok: true, value: `${Math.round(performance.now() - start)} ms` };
  });
  if (!model) return undefined;
  const loaded = model;
  const end = () => void loaded.dispose();
  signal.addEventListener("abort", end, { once: true });
  try {
    const questions = drawnQuestions();
    const started = performance.now();
    await checks.run(name("answers 60 questions about drawn pictures"), () =>
      askAll(loaded, questions, AT_ONCE[deviceKind(device)]),
    );
    const questionMs = (performance.now() - started) / questions.length;
    await checks.run(name("goes on from what was computed before"), () =>
      askAgain(loaded, questions[0]!),
    );
    await checks.run(name("stops when it is told to, and answers the next"), () =>
      stopAndAsk(loaded, questions[0]!),
    );
    await checks.run(name("leaves the event loop free"), async () => {
      const { gaps } = await watchEventLoop(async () => {
        for (const question of questions.slice(-4)) await ask(loaded, question);
      });
      const allowed = LONGEST_GAP_MS[deviceKind(device)];
      return { ok: gaps.longestMs < allowed, value: `${gaps.longestMs.toFixed(1)} ms` };
    });
    if (deviceKind(device) === "cuda") {
      await checks.run(name("refuses what does not fit, and goes on"), async () => {
        const failure = await loadQwen3Vl({ ...options, deviceMemoryBytes: TOO_LITTLE_BYTES }).then(
          async (wrong) => {
            await wrong.dispose();
            return undefined;
          },
          (error: unknown) => error,
        );
        const code = failure instanceof Error && "code" in failure ? failure.code : "none";
        const right = await isRight(loaded, questions[1]!);
        return { ok: code === "device-memory" && right, value: String(code) };
      });
    }
    if (!quick) {
      await checks.run(name(`answers ${MANY} requests without growth`), () =>
        // What could grow is a matter of pictures and prompts, so these are the questions with the shortest answers.
        askMany(loaded, questions.slice(-10)),
      );
    }
    if (device !== "cpu") {
      await checks.run(name("loses its device, and comes back"), () =>
        loseAndAsk(loaded, device, questions[2]!),
      );
    }
    await checks.run(name("is disposed of, and loads again"), async () => {
      await loaded.dispose();
      const start = performance.now();
      await using again = await loadQwen3Vl(options);
      const right = await isRight(again, questions[3]!);
      const seconds = ((performance.now() - start) / 1000).toFixed(1);
      return { ok: right, value: `answers after ${seconds} s` };
    });
    return questionMs;
  } finally {
    signal.removeEventListener("abort", end);
    await loaded.dispose();
  }
}

async function askMany(model: VisionLanguageModel, questions: readonly DrawnQuestion[]) {
  let before = 0;
  for (let index = 0; index < WARM + MANY; index++) {
    if (index === WARM) before = process.memoryUsage.rss();
    await ask(model, questions[index % questions.length]!);
  }
  const growth = process.memoryUsage.rss() - before;
  return { ok: growth < MOST_GROWTH_BYTES, value: `${Math.round(growth / 2 ** 20)} MiB` };
}

/** Asked 60 questions ago: nothing of it lies in a slot any more. */
async function askAgain(model: VisionLanguageModel, question: DrawnQuestion) {
  const { text, cache } = await model.generate(request(question));
  const reused = cache.promptTokens ?? 0;
  const value = `${reused} tokens of the prompt were not computed again`;
  return { ok: text.trim() === question.answer && reused > 0, value };
}

/** The thread that calls the device ends, as it does when a driver takes it down: whoever asks then is told, once. */
async function loseAndAsk(model: VisionLanguageModel, device: Device, question: DrawnQuestion) {
  const open = await openDevice(device);
  await open?.thread.end();
  const failure = await ask(model, question).catch((error: unknown) => error);
  const code = failure instanceof Error && "code" in failure ? String(failure.code) : "none";
  const start = performance.now();
  const right = await isRight(model, question);
  const health = model.health?.();
  const back = health?.state === "ready" && health.losses === 1;
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  return {
    ok: code === "device-lost" && right && back,
    value: `${code}, answers after ${seconds} s`,
  };
}

async function askAll(
  model: VisionLanguageModel,
  questions: readonly DrawnQuestion[],
  atOnce: number,
) {
  let count = 0;
  for (let first = 0; first < questions.length; first += atOnce) {
    const some = questions.slice(first, first + atOnce);
    const right = await Promise.all(some.map((question) => isRight(model, question)));
    count += right.filter(Boolean).length;
  }
  return { ok: count >= RIGHT_ANSWERS, value: `${count} of ${questions.length} right` };
}

async function stopAndAsk(model: VisionLanguageModel, question: DrawnQuestion) {
  const controller = new AbortController();
  const reason = new Error("stopped");
  let stopped = 0;
  const failure = await (async () => {
    for await (const part of model.stream({ ...request(question), signal: controller.signal })) {
      if (part.type !== "text-delta") continue;
      stopped = performance.now();
      controller.abort(reason);
    }
  })().catch((error: unknown) => error);
  const ms = performance.now() - stopped;
  const right = await isRight(model, question);
  return { ok: failure === reason && right, value: `${ms.toFixed(1)} ms after the signal` };
}

async function isRight(model: VisionLanguageModel, question: DrawnQuestion): Promise<boolean> {
  return (await ask(model, question)) === question.answer;
}

async function ask(model: VisionLanguageModel, question: DrawnQuestion): Promise<string> {
  const { text } = await model.generate(request(question));
  return text.trim();
}

function request({ picture, question }: DrawnQuestion) {
  return {
    messages: [
      {
        role: "user" as const,
        content: [
          { type: "image" as const, data: picture },
          { type: "text" as const, text: question },
        ],
      },
    ],
    temperature: 0,
    maxTokens: 40,
  };
}
