// What a message costs that is for somebody else, as almost all in a busy group are: microseconds of the host's thread, for
// each kind of message, from the event to the decision that nothing is done. In: the built package. Out: a table.

import { installVlm } from "../../dist/bot/index.js";
import { FakeNapCat, groupMessage } from "../../dist/bot/testing.js";
import { FakeVisionLanguageModel } from "../../dist/vlm/testing.js";

const MESSAGES = 20_000;
const ROUNDS = 5;
const silent = { debug() {}, info() {}, warn() {}, error() {} };

const url = (id) =>
  `https://multimedia.nt.qq.com.cn/download?appid=1407&fileid=${id}&rkey=${"k".repeat(80)}`;
const picture = (id) => ({ type: "image", data: { file: `${id}.jpg`, url: url(id), sub_type: 0 } });

const KINDS = {
  "a few words": (id) => groupMessage({ text: "大家晚上好，今天吃什么？", ...of(id) }),
  "six hundred characters": (id) => groupMessage({ text: "很长的一段话。".repeat(90), ...of(id) }),
  "a picture": (id) => ({ ...groupMessage(of(id)), message: [picture(id)] }),
  "nine pictures": (id) => ({
    ...groupMessage(of(id)),
    message: Array.from({ length: 9 }, (_, index) => picture(`${id}_${index}`)),
  }),
  "a question to somebody else": (id) => ({
    ...groupMessage(of(id)),
    message: [
      { type: "at", data: { qq: "12345" } },
      { type: "text", data: { text: " 这是什么？" } },
    ],
  }),
};

function of(id) {
  return { messageId: id, groupId: 1 + (id % 50), userId: 1 + (id % 2000) };
}

let lastId = 0;

for (const [kind, event] of Object.entries(KINDS)) {
  const napcat = new FakeNapCat();
  const model = new FakeVisionLanguageModel();
  const bot = installVlm(napcat, { model, logger: silent });
  const microseconds = [];
  for (let round = 0; round < ROUNDS; round++) {
    const events = Array.from({ length: MESSAGES }, () => event(++lastId));
    const startedAt = performance.now();
    for (const one of events) napcat.receive(one);
    await bot.idle();
    microseconds.push(((performance.now() - startedAt) * 1000) / MESSAGES);
  }
  if (napcat.calls.length > 0 || model.requests.length > 0)
    throw new Error("The bot did something.");
  await bot.close();
  microseconds.sort((one, other) => one - other);
  const [best, median] = [microseconds[0], microseconds[ROUNDS >> 1]];
  console.log(
    `${kind.padEnd(30)} ${best.toFixed(1).padStart(7)} µs at best, ${median.toFixed(1)} µs in the middle`,
  );
}
