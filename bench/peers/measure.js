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
for (const tokens of PROMPTS) say(`prefill.${tokens}`, await opened.prefill(chat, tokens));
// One conversation that grows: engines that know its beginning read the rest only.
let text = "";
let read = 0;
const grown = (tokens) => {
  text += chat.words(tokens - read);
  read = tokens;
  return text;
};
const [longest] = CONTEXTS.slice(-1);
for (const tokens of CONTEXTS.slice(0, -1)) await decode(tokens);
if (opened.picture !== undefined) {
  await opened.picture(pictureOf(PICTURES[0]), chat.words(QUESTION_WORDS));
  for (const size of PICTURES) await picture(size);
}
await decode(longest);
await opened.close();
process.exit(0);

async function decode(tokens) {
  say(`decode.context-${tokens}`, await opened.decode(grown(tokens), ANSWER_TOKENS));
}

async function picture(size) {
  const name = size.join("x");
  const question = chat.words(QUESTION_WORDS);
  const { visionMs, firstMs } = await opened.picture(pictureOf(size), question);
  say(`vision.${name}`, visionMs);
  say(`first-word.${name}`, firstMs);
}

/** Noise, as a BMP: its pixels begin at byte 54. */
function pictureOf([width, height]) {
  return { width, height, bytes: chat.picture(width, height).data };
}

function say(id, value) {
  process.stdout.write(`\nFIGURE ${JSON.stringify({ id, value })}\n`);
}
