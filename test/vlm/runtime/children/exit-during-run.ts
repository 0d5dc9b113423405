// Ends the process while ONNX Runtime is at work. Arguments: the heavy graph, what is going on at that moment, and the
// priority of the threads that compute.

import { Session } from "../../../../src/vlm/runtime/session.ts";
import { Value } from "../../../../src/vlm/runtime/value.ts";

const [graph = "", moment = "", wish] = process.argv.slice(2);
const priority = wish === "low" ? "low" : "normal";
const size = 2048; // minutes of work: a process that waited for it would not end in time

const session = await Session.load(graph, { priority });
const square = () => Value.of(new Float32Array(size * size).fill(0.01), [size, size]);

if (moment === "run") {
  const x = square();
  for (let run = 0; run < 2; run++) void session.run({ x }, { product: square() });
  await ticks(200);
  process.exit();
}
if (moment === "load") {
  void Session.load(graph, { priority });
  await ticks(2);
  process.exit();
}
// "nothing": values and session are simply left behind when the event loop runs dry.
square();

async function ticks(count: number): Promise<void> {
  for (let tick = 0; tick < count; tick++) await new Promise((resolve) => setImmediate(resolve));
}
