// `npm run bench:peers`: napcat-vlm and its peers on the same random weights, in turn (A B A B), each in a process of
// its own. In: --size, --rounds, --engines, and --short to leave a context of 4096 out. Out: a table, how many times
// faster than its best peer napcat-vlm is, and JSON beside the models.
//
// node-llama-cpp and @fugood/llama.node read a GGUF made here. transformers.js is not in the list: it reads exports made
// by a Python program, and none can be made of a checkpoint that exists on this machine alone.

import { spawn } from "node:child_process";
import { access, mkdir, writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { benchDirectory } from "../../dist/cli/bench/bench-directory.js";
import { ensureRandomCheckpoint } from "../../dist/cli/bench/random-checkpoint.js";
import { ensurePackage } from "../../dist/vlm/convert/ensure-package.js";
import { preferredInt8Weights } from "../../dist/vlm/engine/cpu-settings.js";
import { defaultThreads } from "../../dist/vlm/runtime/cpu-threads.js";
import { writeGguf } from "./gguf.js";

const { values } = parseArgs({
  options: {
    size: { type: "string", default: "2b" },
    rounds: { type: "string", default: "2" },
    threads: { type: "string" },
    short: { type: "boolean", default: false },
    engines: { type: "string", default: "napcat-vlm,node-llama-cpp,llama.node" },
  },
});
const threads = Number(values.threads ?? (defaultThreads() || cpus().length));
const root = benchDirectory();
const checkpoint = join(root, values.size);
await mkdir(root, { recursive: true });
const { signal } = new AbortController();
await ensureRandomCheckpoint(checkpoint, values.size, signal);

const competitors = [];
const int8Weights = await preferredInt8Weights();
for (const precision of ["w8a8", "q4"]) {
  const model = await ensurePackage({ model: checkpoint, precision, int8Weights });
  competitors.push({ name: `napcat-vlm ${precision}`, engine: "napcat-vlm", model });
}
for (const format of ["Q8_0", "Q4_0"]) {
  const model = join(root, `${values.size}-${format}.gguf`);
  if (!(await exists(model))) await writeGguf(checkpoint, model, format);
  for (const engine of ["node-llama-cpp", "llama.node"]) {
    competitors.push({ name: `${engine} ${format}`, engine, model });
  }
}

const asked = competitors.filter(({ engine }) => values.engines.split(",").includes(engine));

/** @type {Map<string, Map<string, number[]>>} */
const results = new Map();
for (let round = 1; round <= Number(values.rounds); round++) {
  for (const { name, engine, model } of asked) {
    process.stdout.write(`${round}: ${name} … `);
    const figures = await measure(engine, model).catch((error) => {
      console.log(error.message);
      return {};
    });
    if (Object.keys(figures).length > 0)
      console.log(JSON.stringify(figures, (_, value) => shortened(value)));
    for (const [figure, value] of Object.entries(figures)) {
      const byName = results.get(figure) ?? new Map();
      byName.set(name, [...(byName.get(name) ?? []), value]);
      results.set(figure, byName);
    }
  }
}

console.log(
  `\n${values.size}, ${cpus()[0]?.model.trim()}, ${threads} threads, tokens a second (min median max)\n`,
);
console.log(`| | ${asked.map(({ name }) => name).join(" | ")} |`);
console.log(`|---|${asked.map(() => "---|").join("")}`);
for (const [figure, byName] of results) {
  const cells = asked.map(({ name }) => spread(byName.get(name)));
  console.log(`| ${figure} | ${cells.join(" | ")} |`);
}

for (const line of comparisons()) console.log(line);
const file = join(root, "results", `peers-${values.size}.json`);
await mkdir(join(root, "results"), { recursive: true });
const plain = Object.fromEntries([...results].map(([key, map]) => [key, Object.fromEntries(map)]));
await writeFile(
  file,
  `${JSON.stringify({ cpu: cpus()[0]?.model, threads, results: plain }, null, 2)}\n`,
);
console.log(`\n${file}`);

/** The better of our number formats against the peers: in prompts the best of them, in answers those of 4 bits. */
function comparisons() {
  return [...results].flatMap(([figure, byName]) => {
    const best = (wanted) => {
      const medians = [...byName].filter(([name]) => wanted(name)).map(([, s]) => median(s));
      return medians.length === 0 ? undefined : Math.max(...medians);
    };
    const isOurs = (name) => name.startsWith("napcat-vlm");
    const isPeer = (name) =>
      !isOurs(name) && (figure.startsWith("prefill") || name.endsWith("Q4_0"));
    const [ours, theirs] = [best(isOurs), best(isPeer)];
    if (ours === undefined || theirs === undefined) return [];
    const peers = figure.startsWith("prefill") ? "the best peer" : "the best peer in Q4_0";
    return [`${figure}: ${shortened(ours / theirs)} times ${peers}`];
  });
}

/** Runs measure.js; a peer that cannot run here says why. */
function measure(engine, model) {
  return new Promise((resolve, reject) => {
    const script = new URL("./measure.js", import.meta.url);
    const args = [engine, model, String(threads), values.short ? "short" : "long"];
    const child = spawn(process.execPath, [fileURLToPath(script), ...args], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    let errors = "";
    child.stdout.on("data", (data) => {
      output += data;
    });
    child.stderr.on("data", (data) => {
      errors += data;
    });
    child.on("error", reject);
    child.on("close", (code) => {
      const line = /^FIGURES (.*)$/m.exec(output)?.[1];
      if (line !== undefined) return resolve(JSON.parse(line));
      reject(new Error(`not available (exit code ${code}): ${errors.trim().split("\n").at(-1)}`));
    });
  });
}

function spread(samples) {
  if (samples === undefined) return "-";
  const sorted = samples.toSorted((a, b) => a - b);
  const middle = median(samples);
  const noisy = sorted.at(-1) - sorted[0] > 0.3 * middle ? " !" : "";
  return `${shortened(sorted[0])} **${shortened(middle)}** ${shortened(sorted.at(-1))}${noisy}`;
}

function median(samples) {
  const sorted = samples.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function shortened(value) {
  return typeof value === "number" ? Number(value.toPrecision(3)) : value;
}

async function exists(path) {
  return access(path).then(
    () => true,
    () => false,
  );
}
