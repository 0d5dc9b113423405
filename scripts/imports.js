// What it costs to import each entry point: milliseconds (median of five fresh processes) and packages. Prints a table.
// In: the directory of a build, `dist` by default. `npm run bench:imports` builds first.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const TIMES = 5;
const child = fileURLToPath(new URL("imports-child.js", import.meta.url));
const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
const build = resolve(process.argv[2] ?? fileURLToPath(new URL("../dist", import.meta.url)));

const measure = (url, what) =>
  JSON.parse(execFileSync(process.execPath, [child, url, what], { encoding: "utf8" }));

console.log(
  "| entry point | ms | packages in all | our dependencies among them |\n|---|---|---|---|",
);
for (const [path, target] of Object.entries(manifest.exports)) {
  if (typeof target === "string") continue;
  const url = pathToFileURL(resolve(build, target.default.replace("./dist/", ""))).href;
  const times = Array.from({ length: TIMES }, () => measure(url, "time")).sort((a, b) => a - b);
  const packages = measure(url, "packages");
  const direct = packages.filter((name) => name in manifest.dependencies);
  const list = direct.length === 0 ? "none" : direct.map((name) => `\`${name}\``).join(", ");
  const ms = Math.round(times[Math.floor(TIMES / 2)]);
  console.log(`| \`napcat-vlm${path.slice(1)}\` | ${ms} | ${packages.length} | ${list} |`);
}
