// One engine in a process of its own: `node measure.js '{"engine":…,"model":…,"mmproj":…,"threads":…}'`. Out: a line of
// JSON for each figure as soon as it is known, what is quick first: whoever runs this may lose patience.

import { RandomChat } from "../../dist/cli/bench/random-chat.js";
import { CONTEXTS, PICTURES, PROMPTS } from "./figures.js";

const ANSWER_TOKENS = 24;
const QUESTION_WORDS = 16;

const { engine, ...options } = JSON.parse(process.argv[2]);
const { open } = await import(`./engines/${engine}.js`);
const opened = await open({ ...options, contextTokens: Math.max(...CONTEXTS) + 64 });
const chat = new RandomChat(Date.now());

await opened.prefill(chat, 32); // what only the first run pays
// One conversation that grows: engines that know its beginning read the rest only.
let text = "";
let read = 0;
const [short, middle, long] = CONTEXTS;
const [small, usual, large] = PICTURES;
await prefill(PROMPTS[0]);
await decode(short);
await picture(small);
await picture(usual);
await prefill(PROMPTS[1]);
await decode(middle);
await picture(large);
await decode(long);
await opened.close();
process.exit(0);

async function prefill(tokens) {
  say(`prefill.${tokens}`, await opened.prefill(chat, tokens));
}

async function decode(tokens) {
  text += chat.words(tokens - read);
  read = tokens;
  say(`decode.context-${tokens}`, await opened.decode(text, ANSWER_TOKENS));
}

async function picture(size) {
  if (opened.picture === undefined) return;
  const name = size.join("x");
  const question = chat.words(QUESTION_WORDS);
  const { visionMs, firstMs } = await opened.picture(pictureOf(size), question);
  if (visionMs !== undefined) say(`vision.${name}`, visionMs);
  say(`first-word.${name}`, firstMs);
}

/** Noise, as a BMP: its pixels begin at byte 54. */
function pictureOf([width, height]) {
  return { width, height, bytes: chat.picture(width, height).data };
}

function say(id, value) {
  if (!Number.isFinite(value)) throw new TypeError(`Error: ${engine} gave no number for ${id}.`);
  process.stdout.write(`\nFIGURE ${JSON.stringify({ id, value })}\n`);
}
