// Imports one module in a fresh process. In: its URL, and `time` or `packages`. Out: JSON on standard output: the
// milliseconds it took, or the packages that came along. Watching costs time, so one process does one of the two.

import { createRequire, register } from "node:module";
import { MessageChannel, receiveMessageOnPort } from "node:worker_threads";

const [url, what] = process.argv.slice(2);
const { port1, port2 } = new MessageChannel();
if (what === "packages") {
  register("./imports-hook.js", {
    parentURL: import.meta.url,
    data: { port: port2 },
    transferList: [port2],
  });
}

const startedAt = performance.now();
await import(url);
const ms = performance.now() - startedAt;

const places = Object.keys(createRequire(import.meta.url).cache);
for (let got = receiveMessageOnPort(port1); got; got = receiveMessageOnPort(port1)) {
  places.push(got.message);
}
const packages = new Set(
  places.flatMap((place) => {
    const inside = place.replaceAll("\\", "/").split("/node_modules/").at(-1);
    if (inside === undefined || !place.includes("node_modules")) return [];
    return [
      inside
        .split("/")
        .slice(0, inside.startsWith("@") ? 2 : 1)
        .join("/"),
    ];
  }),
);
console.log(JSON.stringify(what === "packages" ? [...packages].sort() : ms));
process.exit(0);
