// What holds up the event loop while ten readers ask a model about texts and pictures, and leave in the middle: the longest
// times that a timer of one millisecond did not come, how much of each its thread computed and how much it waited for a
// core (Linux), and which functions ran in those in which it computed most. In: the built package, and with --model a
// checkpoint or a package (otherwise the tiny chat model); with --compute-priority low the threads that compute give way.
// Out: two tables in Markdown, and how long the thread waited for a core in all.

import { closeSync, openSync, readSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { Session } from "node:inspector/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { RandomChat } from "../../dist/cli/bench/random-chat.js";
import { loadQwen3Vl } from "../../dist/vlm/index.js";

const TINY_CHAT = fileURLToPath(new URL("../../examples/tiny-chat", import.meta.url));
const READERS = 10;
const PICTURES = 60;
const SAMPLE_US = 250;
const NOTABLE_MS = 4;
const SHOWN = 8;

const { values: options } = parseArgs({
  options: {
    model: { type: "string", default: TINY_CHAT },
    seconds: { type: "string", default: "20" },
    "compute-priority": { type: "string", default: "normal" },
  },
});
const directory = await mkdtemp(join(tmpdir(), "napcat-vlm-loop-"));
try {
  const model = await loadQwen3Vl({
    model: options.model,
    ...(options.model === TINY_CHAT ? { packageDir: join(directory, "package") } : {}),
    maxContextTokens: 2048,
    maxConcurrent: 8,
    computePriority: options["compute-priority"],
    onWarning: () => {},
  });
  await measure(model, Number(options.seconds)).finally(() => model.dispose());
} finally {
  await rm(directory, { recursive: true, force: true });
}

async function measure(model, seconds) {
  const chat = new RandomChat(6);
  const pictures = Array.from({ length: PICTURES }, (_, index) =>
    index % 2 === 0 ? chat.picture(448, 448) : chat.picture(1024, 768),
  );
  await model.generate({ messages: [chat.user(8)], maxTokens: 4 }); // what only the first request pays
  const profiler = new Session();
  profiler.connect();
  await profiler.post("Profiler.enable");
  await profiler.post("Profiler.setSamplingInterval", { interval: SAMPLE_US });
  await profiler.post("Profiler.start");
  const gaps = watchLoop();
  const until = performance.now() + 1000 * seconds;
  const counts = { asked: 0, left: 0 };
  const readers = Array.from({ length: READERS }, (_, index) =>
    read(model, { chat, pictures, until, counts, name: `reader ${index}` }),
  );
  await Promise.all(readers);
  const { found, waitedMs } = gaps.end();
  const { profile } = await profiler.post("Profiler.stop");
  profiler.disconnect();
  console.log(`${cpus()[0]?.model.trim()}, ${counts.asked} questions, ${counts.left} left`);
  if (waitedMs !== undefined) console.log(`waited for a core: ${waitedMs.toFixed(0)} ms in all`);
  console.log("\n| longest gaps, ms | computed | waited for a core |\n|---|---|---|");
  for (const gap of highest(found, "ms")) console.log(row(gap));
  console.log("\n| most computed, ms | of a gap of | in |\n|---|---|---|");
  for (const gap of highest(found, "computedMs")) {
    const { ms, computedMs = ms } = gap;
    const functions = functionsIn(profile, gap).join(", ");
    console.log(`| ${computedMs.toFixed(1)} | ${ms.toFixed(1)} | ${functions} |`);
  }
}

/** Asks until the time is over; now and then leaves before the answer is there. */
async function read(model, { chat, pictures, until, counts, name }) {
  while (performance.now() < until) {
    const picture = Math.random() < 0.5 ? pictures.pop() : undefined;
    const message = picture
      ? chat.userWithPicture(picture, 20)
      : chat.user(20 + Math.floor(200 * Math.random()));
    counts.asked++;
    const leaves = Math.random() < 0.4;
    if (leaves) counts.left++;
    const signal = leaves ? AbortSignal.timeout(Math.ceil(1500 * Math.random())) : undefined;
    const asked = model.stream({ messages: [message], chat: name, maxTokens: 30, signal });
    try {
      for await (const part of asked) void part;
    } catch (error) {
      if (!signal?.aborted) throw error;
    }
  }
}

/** A timer of one millisecond, and each longer time in which it did not come. */
function watchLoop() {
  const thread = openThread();
  const gaps = [];
  const { waitedMs: before } = thread.times();
  const now = () => ({ us: Number(process.hrtime.bigint() / 1000n), ...thread.times() });
  let last = now();
  const timer = setInterval(() => {
    const here = now();
    const ms = (here.us - last.us) / 1000 - 1;
    if (ms > NOTABLE_MS) {
      const computedMs =
        last.computedMs === undefined ? undefined : here.computedMs - last.computedMs;
      const waitedMs = last.waitedMs === undefined ? undefined : here.waitedMs - last.waitedMs;
      gaps.push({ ms, computedMs, waitedMs, from: last.us, to: here.us });
    }
    last = now();
  }, 1);
  return {
    end() {
      clearInterval(timer);
      const { waitedMs } = thread.times();
      thread.close();
      return { found: gaps, waitedMs: waitedMs === undefined ? undefined : waitedMs - before };
    },
  };
}

/** How long this thread has run, and how long it was ready and had no core; nothing where the system does not tell. */
function openThread() {
  let file;
  try {
    file = openSync("/proc/thread-self/schedstat", "r");
  } catch {
    return { times: () => ({}), close: () => {} };
  }
  const bytes = Buffer.alloc(128);
  const times = () => {
    const length = readSync(file, bytes, 0, bytes.length, 0);
    const [ran, waited] = bytes.toString("latin1", 0, length).split(" ").map(Number);
    return { computedMs: ran / 1e6, waitedMs: waited / 1e6 };
  };
  return { times, close: () => closeSync(file) };
}

function highest(gaps, key) {
  return gaps.toSorted((a, b) => (b[key] ?? b.ms) - (a[key] ?? a.ms)).slice(0, SHOWN);
}

function row({ ms, computedMs, waitedMs }) {
  return `| ${[ms, computedMs, waitedMs].map((time) => time?.toFixed(1) ?? "–").join(" | ")} |`;
}

/** The functions that were seen most often in a gap, and the milliseconds that they may have taken. */
function functionsIn({ nodes, samples, timeDeltas, startTime }, { from, to }) {
  const names = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]));
  const times = new Map();
  let at = startTime;
  for (const [index, id] of samples.entries()) {
    at += timeDeltas[index];
    if (at < from || at > to) continue;
    times.set(names.get(id), (times.get(names.get(id)) ?? 0) + timeDeltas[index] / 1000);
  }
  return [...times]
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, 4)
    .map(([name, ms]) => `${name} ${ms.toFixed(1)}`);
}

function nameOf({ functionName, url }) {
  const file = url.split("/").at(-1);
  return file ? `\`${functionName || "a function"}\` of ${file}` : `\`${functionName}\``;
}
