// A process that loads a package, answers about one picture and says how much memory it took. Prints JSON.

import { readFileSync } from "node:fs";
import { loadQwen3Vl } from "../../../../src/vlm/qwen3-vl.ts";
import { drawShapes } from "../../../support/draw.ts";

const rss = () =>
  1024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1]);

const before = rss();
const model = await loadQwen3Vl({
  model: process.argv[2] ?? "",
  maxContextTokens: 1024,
  maxImageTokens: 64,
  onWarning: () => {},
});
const data = await drawShapes([{ shape: "circle", color: "red" }]);
await model.generate({
  messages: [{ role: "user", content: [{ type: "image", data }] }],
  maxTokens: 4,
});
process.stdout.write(JSON.stringify({ before, after: rss() }));
await model.dispose();
