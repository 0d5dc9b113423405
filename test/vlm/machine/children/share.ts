// A process that loads a package with or without its own copy of the weights and answers once. Prints JSON: memory that
// no other process can share, in bytes, and the answer.

import { readFileSync } from "node:fs";
import { loadQwen3Vl } from "../../../../src/vlm/qwen3-vl.ts";

const [, , model = "", shared] = process.argv;
const loaded = await loadQwen3Vl({
  model,
  shareWeights: shared === "true",
  maxContextTokens: 512,
  maxImageTokens: 64,
  onWarning: () => {},
});
const messages = [{ role: "user" as const, content: "hello" }];
const { text } = await loaded.generate({ messages, temperature: 0, maxTokens: 6 });
const rollup = readFileSync("/proc/self/smaps_rollup", "utf8");
const anonymous = 1024 * Number(/^Anonymous:\s+(\d+)/m.exec(rollup)?.[1]);
process.stdout.write(JSON.stringify({ anonymous, text }));
await loaded.dispose();
