// What keys and values in fp32, fp16 and int8 are worth: answers of the tiny chat model that change, of two hundred; how far
// logits are off; milliseconds of attention; memory. With --model PACKAGE also steps and prompts of a whole model. In: the
// built package. Out: tables in Markdown. Each figure of time is the fastest of runs that take turns.

import { mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { twoHundredQuestions } from "../../dist/cli/prove/drawn-questions.js";
import { CACHE_FORMATS } from "../../dist/vlm/convert/cached-attention.js";
import { Decoder } from "../../dist/vlm/engine/decoder.js";
import { openPackage } from "../../dist/vlm/engine/onnx-package.js";
import { loadQwen3Vl } from "../../dist/vlm/index.js";
import { measureAttention } from "../../dist/vlm/machine/attention-speed.js";
import { prepareOrt } from "../../dist/vlm/runtime/ort.js";
import { mropePositions } from "../../dist/vlm/text/position-ids.js";

const TINY_CHAT = fileURLToPath(new URL("../../examples/tiny-chat", import.meta.url));
const PRECISIONS = ["fp32", "w8a8", "q4"];
const CONTEXTS = [128, 1024, 4096];
const CHUNK = 256;
/** Tokens of a run, and how many there were before: of a prompt, of a follow-up, of guesses that are checked. */
const PIECES = [
  [CHUNK, 0],
  [CHUNK, 1024],
  [CHUNK, 3840],
  [35, 1024],
  [8, 1024],
];
const { values: options } = parseArgs({
  options: {
    model: { type: "string" },
    rounds: { type: "string", default: "3" },
    parts: { type: "string", default: "answers,logits,attention,model" },
  },
});
const parts = options.parts.split(",");
const rounds = Number(options.rounds);

await prepareOrt();
console.log(`${cpus()[0]?.model.trim()}, ${new Date().toISOString().slice(0, 10)}\n`);
const directory = await mkdtemp(join(tmpdir(), "napcat-vlm-kv-"));
try {
  if (parts.includes("answers")) await answers(directory);
  if (parts.includes("logits")) await logits(directory);
} finally {
  await rm(directory, { recursive: true, force: true });
}
if (parts.includes("attention")) await attention();
if (parts.includes("model") && options.model !== undefined) await wholeModel(options.model);

/** Of the tiny chat model, against fp32 keys and values with the same weights. */
async function answers(packages) {
  const questions = twoHundredQuestions();
  const lines = [];
  for (const precision of PRECISIONS) {
    let usual;
    for (const kvPrecision of CACHE_FORMATS) {
      const model = await loadTinyChat(precision, join(packages, precision), kvPrecision);
      const given = [];
      for (const { picture, question } of questions) {
        const { text } = await model.generate({
          messages: [
            {
              role: "user",
              content: [
                { type: "image", data: picture },
                { type: "text", text: question },
              ],
            },
          ],
          maxTokens: 48,
          temperature: 0,
        });
        given.push(text);
      }
      await model.dispose();
      usual ??= given;
      const changed = given.filter((text, index) => text !== usual[index]).length;
      const right = given.filter((text, index) => text === questions[index].answer).length;
      lines.push([precision, kvPrecision, changed, right]);
    }
  }
  table(["weights", "keys and values", `of ${questions.length} changed`, "right"], lines);
}

function loadTinyChat(precision, packageDir, kvPrecision) {
  const options = { model: TINY_CHAT, packageDir, precision, kvPrecision };
  return loadQwen3Vl({ ...options, onWarning() {} });
}

/** Root mean square of the error over that of the logits: a prompt of 512 tokens in two pieces, then 64 steps. */
async function logits(packages) {
  const lines = [];
  for (const precision of PRECISIONS) {
    const packageDir = join(packages, precision);
    await (await loadTinyChat(precision, packageDir, "fp32")).dispose();
    const model = await openPackage(packageDir);
    const of = {};
    for (const format of CACHE_FORMATS) of[format] = await teacherForced(model, format);
    for (const format of CACHE_FORMATS.slice(1)) {
      const errors = of[format].map((row, index) => relativeError(row, of.fp32[index]));
      const mean = errors.reduce((sum, error) => sum + error, 0) / errors.length;
      const best = of[format].filter((row, i) => argmax(row) === argmax(of.fp32[i])).length;
      lines.push([
        precision,
        format,
        mean.toExponential(1),
        Math.max(...errors).toExponential(1),
        `${best} of ${errors.length}`,
      ]);
    }
  }
  table(["weights", "keys and values", "error, mean", "largest", "same best token"], lines);
}

async function teacherForced(model, format) {
  const decoder = await Decoder.load(model, {}, format);
  const slot = decoder.createSlots(1, 1024).open();
  const { vocabSize } = model.config.text;
  const id = (index) => (index * 7919 + 13) % Math.min(vocabSize, 2000);
  const rows = [];
  for (let start = 0; start < 512; start += CHUNK) {
    const { positions } = mropePositions(CHUNK, [], { nextPosition: start, length: start });
    const ids = Int32Array.from({ length: CHUNK }, (_, index) => id(start + index));
    rows.push((await decoder.append({ ids, positions }, slot))[0].slice());
  }
  for (let position = 512; position < 576; position++) {
    rows.push((await decoder.decode([{ slot, id: id(position), position }]))[0].slice());
  }
  await decoder.dispose();
  return rows;
}

/** One layer of a 2B. */
async function attention() {
  const lines = [];
  for (const context of CONTEXTS) {
    const best = {};
    for (let round = 0; round < rounds; round++) {
      for (const format of CACHE_FORMATS) {
        const { stepMs, chunkMs } = await measureAttention(format, {}, context);
        best[format] = {
          stepMs: Math.min(stepMs, best[format]?.stepMs ?? stepMs),
          chunkMs: Math.min(chunkMs, best[format]?.chunkMs ?? chunkMs),
        };
      }
    }
    for (const [what, key] of [
      ["one token", "stepMs"],
      [`${CHUNK} tokens`, "chunkMs"],
    ]) {
      const row = CACHE_FORMATS.map((format) => best[format][key].toFixed(2));
      lines.push([`${what} behind ${context}`, ...row]);
    }
  }
  table(["ms of one layer of a 2B", ...CACHE_FORMATS], lines);
}

/** Steps and prompts of a package, formats taking turns. */
async function wholeModel(path) {
  const model = await openPackage(path);
  const formats = ["fp32", "int8"];
  const best = {};
  const note = (what, format, ms) => {
    best[what] ??= {};
    best[what][format] = Math.min(ms, best[what][format] ?? ms);
  };
  for (let round = 0; round < rounds; round++) {
    for (const format of formats) await measureModel(model, format, note);
  }
  const rows = Object.entries(best).map(([what, ms]) => [
    what,
    ...formats.map((format) => ms[format].toFixed(1)),
    (ms.fp32 / ms.int8).toFixed(2),
  ]);
  table([`ms, ${model.manifest.precision.decoder}`, ...formats, "times"], rows);
}

async function measureModel(model, format, note) {
  const decoder = await Decoder.load(model, {}, format);
  note("KiB of a token", format, decoder.tokenBytes / 1024);
  const slots = decoder.createSlots(8, 4096 + CHUNK);
  const first = slots.open();
  const timed = async (what, run) => {
    const start = performance.now();
    await run();
    note(what, format, performance.now() - start);
  };
  const append = (slot, tokens) => {
    const start = slot.length;
    const { positions } = mropePositions(tokens, [], { nextPosition: start, length: start });
    const ids = Int32Array.from({ length: tokens }, (_, index) => (index * 7919 + start) % 2000);
    return decoder.append({ ids, positions }, slot);
  };
  const steps = async (what, all) => {
    for (let step = 0; step < 6; step++) {
      const rows = all.map((slot) => ({ slot, id: 17 + step, position: slot.length }));
      await timed(what, () => decoder.decode(rows));
    }
  };
  await append(first, CHUNK); // warms up
  const block = await first.read(0, CHUNK);
  // What is looked up costs the same whatever it says.
  const fill = async (slot, tokens) => {
    slot.truncate(0);
    while (slot.length < tokens) await slot.append(block, Math.min(CHUNK, tokens - slot.length));
  };
  for (const [tokens, before] of PIECES) {
    await fill(first, before);
    await timed(`${tokens} tokens behind ${before}`, () => append(first, tokens));
  }
  for (const context of CONTEXTS) {
    await fill(first, context);
    await steps(`one token behind ${context}`, [first]);
  }
  const all = [first, ...Array.from({ length: 7 }, () => slots.open())];
  for (const slot of all) await fill(slot, 1024);
  await steps("a token each of 8, behind 1024", all);
  await decoder.dispose();
}

function relativeError(row, expected) {
  let [errors, squares] = [0, 0];
  for (const [index, value] of expected.entries()) {
    errors += (row[index] - value) ** 2;
    squares += value ** 2;
  }
  return Math.sqrt(errors / squares);
}

function argmax(row) {
  return row.indexOf(Math.max(...row));
}

function table(head, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  console.log([line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n"), "\n");
}
