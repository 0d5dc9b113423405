// The tiny chat model on a device, through the door that every program uses: is it right, can it be stopped, does it
// survive want of memory, does it leave the event loop alone? In: a device. Out: checks.

import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { packagePath } from "../../package-root.ts";
import type { Precision } from "../../vlm/convert/linear-layers.ts";
import { type LoadOptions, loadQwen3Vl, type VisionLanguageModel } from "../../vlm/index.ts";
import { type Device, deviceKind, openDevice } from "../../vlm/runtime/device.ts";
import { type Gaps, watchEventLoop } from "../bench/event-loop-gaps.ts";
import type { Checks, Finding } from "./check.ts";
import { type DrawnQuestion, drawnQuestions } from "./drawn-questions.ts";
import { codeOf, runOutOfMemory, tooLarge } from "./memory-trials.ts";
import { isSoftware } from "./software-driver.ts";

/** Of sixty. The model itself, in f32 on a CPU, gets all of them. */
const RIGHT_ANSWERS = 58;
const ASKED = 60;
/** Longest time between asking an answer to stop and having stopped, whatever the device is at. */
const LONGEST_STOP_MS = 10_000;
/**
 * Longest time for which a device may hold up the event loop, more than it is held up when nobody asks anything. A CPU, or
 * a software driver in the place of a card, takes the cores that the loop needs.
 */
const LONGEST_GAP_MS = { cuda: 5, webgpu: 20, cpu: 250, software: 500 } as const;
const IDLE_MS = 250;
/** Questions asked at once: enough for batches. WebGPU compiles shaders for every number of chats that answer. */
const AT_ONCE = { cuda: 6, webgpu: 3, cpu: 6 } as const;

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
  /** What is done to the device, for tests. */
  readonly trials?: DeviceTrials;
}

export interface DeviceTrials {
  readonly load: (options: LoadOptions) => Promise<VisionLanguageModel>;
  /** Asks for more memory than there is; rejects with what the device says. */
  readonly runOutOfMemory: (device: Device) => Promise<void>;
  /** Ends the thread that calls the device, as a driver that goes down does. */
  readonly lose: (device: Device) => Promise<void>;
  readonly watch: typeof watchEventLoop;
  /** Memory of this process. */
  readonly residentBytes: () => number;
}

const TRIALS: DeviceTrials = {
  load: loadQwen3Vl,
  runOutOfMemory,
  lose: async (device) => await (await openDevice(device))?.thread.end(),
  watch: watchEventLoop,
  residentBytes: () => process.memoryUsage.rss(),
};

/** @returns milliseconds of a question, several being asked at once; undefined where the model cannot be loaded */
export async function checkBehaviour(work: BehaviourWork): Promise<number | undefined> {
  const { checks, device, precision, directory, quick, signal, trials = TRIALS } = work;
  const kind = deviceKind(device);
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
    model = await trials.load(options);
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
      askAll(loaded, questions, AT_ONCE[kind]),
    );
    const questionMs = (performance.now() - started) / questions.length;
    await checks.run(name("goes on from what was computed before"), () =>
      askAgain(loaded, questions[0]!),
    );
    await checks.run(name("stops when it is told to, and answers the next"), () =>
      stopAndAsk(loaded, questions[0]!),
    );
    await checks.run(name("leaves the event loop free"), () =>
      watchAnswers(
        loaded,
        questions.slice(-4),
        LONGEST_GAP_MS[isSoftware(device, questionMs) ? "software" : kind],
        trials.watch,
      ),
    );
    await checks.run(name("refuses what does not fit, and goes on"), async () => {
      const { options: large, code } = tooLarge(kind);
      const failure = await trials.load({ ...options, ...large }).then(
        (wrong) => wrong.dispose(),
        (error: unknown) => error,
      );
      const found = codeOf(failure, kind);
      return { ok: found === code && (await isRight(loaded, questions[1]!)), value: found };
    });
    await checks.run(name("runs out of memory, and goes on"), async () => {
      const meanwhile = isRight(loaded, questions[4]!).catch(() => false);
      const failure = await trials.runOutOfMemory(device).catch((error: unknown) => error);
      const found = codeOf(failure, kind);
      const right = (await meanwhile) && (await isRight(loaded, questions[5]!));
      const code = kind === "cpu" ? "no memory" : "device-memory";
      return { ok: found === code && right, value: right ? found : `${found}, then wrong` };
    });
    if (!quick) {
      await checks.run(name(`answers ${MANY} requests without growth`), () =>
        // What could grow is a matter of pictures and prompts, so these are the questions with the shortest answers.
        askMany(loaded, questions.slice(-10), trials.residentBytes),
      );
    }
    if (device !== "cpu") {
      await checks.run(name("loses its device, and comes back"), () =>
        loseAndAsk(loaded, () => trials.lose(device), questions[2]!),
      );
    }
    await checks.run(name("is disposed of, and loads again"), async () => {
      await loaded.dispose();
      const start = performance.now();
      await using again = await trials.load(options);
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

async function askMany(
  model: VisionLanguageModel,
  questions: readonly DrawnQuestion[],
  residentBytes: () => number,
): Promise<Finding> {
  let before = 0;
  let right = 0;
  for (let index = 0; index < WARM + MANY; index++) {
    if (index === WARM) before = residentBytes();
    const isAnswered = await isRight(model, questions[index % questions.length]!);
    if (index >= WARM && isAnswered) right++;
  }
  const growth = residentBytes() - before;
  return {
    ok: growth < MOST_GROWTH_BYTES && right >= (MANY * RIGHT_ANSWERS) / ASKED,
    value: `${Math.round(growth / 2 ** 20)} MiB, ${right} of ${MANY} right`,
  };
}

/** What the loop's thread waited for a core, where the system tells, is not the device's doing. */
async function watchAnswers(
  model: VisionLanguageModel,
  questions: readonly DrawnQuestion[],
  allowedMs: number,
  watch: typeof watchEventLoop,
): Promise<Finding> {
  const idle = await watch(() => setTimeout(IDLE_MS));
  const { gaps } = await watch(async () => {
    for (const question of questions) await ask(model, question);
  });
  const heldUp = ({ longestMs, longestOwnMs }: Gaps) => longestOwnMs ?? longestMs;
  const [gapMs, idleMs] = [heldUp(gaps), heldUp(idle.gaps)];
  const waited =
    gaps.longestMs > gapMs ? `, ${gaps.longestMs.toFixed(1)} ms with waits for a core` : "";
  return {
    ok: gapMs < allowedMs + idleMs,
    value: `${gapMs.toFixed(1)} ms${waited}; ${idleMs.toFixed(1)} ms when nobody asks (allowed: ${allowedMs} ms more)`,
  };
}

/** Asked 60 questions ago: nothing of it lies in a slot any more. */
async function askAgain(model: VisionLanguageModel, question: DrawnQuestion) {
  const { text, cache } = await model.generate(request(question));
  const reused = cache.promptTokens ?? 0;
  const value = `${reused} tokens of the prompt were not computed again`;
  return { ok: text.trim() === question.answer && reused > 0, value };
}

/** The thread that calls the device ends, as it does when a driver takes it down: whoever asks then is told, once. */
async function loseAndAsk(
  model: VisionLanguageModel,
  lose: () => Promise<void>,
  question: DrawnQuestion,
): Promise<Finding> {
  await lose();
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
  if (failure !== reason) return { ok: false, value: `it ended with ${failure ?? "its answer"}` };
  const value = `${ms.toFixed(1)} ms after the signal${right ? "" : ", then wrong"}`;
  return { ok: ms < LONGEST_STOP_MS && right, value };
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
