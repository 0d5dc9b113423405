// `npm run bench:peers`: napcat-vlm and its peers on the same random weights, in turn (A B A B), each in a process of
// its own. In: --size, --rounds, --engines, --threads, and --limit: seconds that one engine has in one round (150; what
// it does not reach in them is missing). Out: a table, how many times faster than its best peer napcat-vlm is, JSON,
// and charts as SVG and PNG beside the models.

import { spawn } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { benchDirectory } from "../../dist/cli/bench/bench-directory.js";
import { short } from "../../dist/cli/bench/figure.js";
import { ensureRandomCheckpoint } from "../../dist/cli/bench/random-checkpoint.js";
import { defaultThreads } from "../../dist/vlm/runtime/cpu-threads.js";
import { competitors, ENGINES } from "./competitors.js";
import { writeReport } from "./report.js";

const { values } = parseArgs({
  options: {
    size: { type: "string", default: "2b" },
    rounds: { type: "string", default: "2" },
    threads: { type: "string" },
    limit: { type: "string", default: "150" },
    engines: { type: "string", default: ENGINES.join(",") },
  },
});
const engines = values.engines.split(",");
const threads = Number(values.threads ?? (defaultThreads() || cpus().length));
const root = benchDirectory();
const checkpoint = join(root, values.size);
await mkdir(join(root, "results"), { recursive: true });
await ensureRandomCheckpoint(checkpoint, values.size, new AbortController().signal);
const asked = await competitors({ checkpoint, root, size: values.size, engines });
if (asked.length === 0) {
  throw new TypeError(
    `Expected \`--engines\` to name some of ${ENGINES.join(", ")}, got \`${values.engines}\`.`,
  );
}

/** @type {Map<string, Map<string, number[]>>} by figure, then by engine */
const samples = new Map();
/** @type {Map<string, string>} why an engine has not all figures */
const missing = new Map();
for (let round = 1; round <= Number(values.rounds); round++) {
  for (const { name, ...competitor } of asked) {
    process.stdout.write(`${round}: ${name} …`);
    const reason = await measure(competitor, ({ id, value }) => {
      process.stdout.write(` ${id} ${short(value)}`);
      const byEngine = samples.get(id) ?? new Map();
      byEngine.set(name, [...(byEngine.get(name) ?? []), value]);
      samples.set(id, byEngine);
    });
    if (reason !== undefined) missing.set(name, reason);
    console.log(reason === undefined ? "" : ` (${reason})`);
  }
}
const cpu = cpus()[0]?.model.trim() ?? process.arch;
const names = asked.map(({ name }) => name);
await writeReport(
  { size: values.size, cpu, threads, engines: names, samples, missing },
  join(root, "results"),
);

/** Runs measure.js. @returns why it did not come to its end, if it did not */
function measure(competitor, onFigure) {
  return new Promise((resolve, reject) => {
    const script = fileURLToPath(new URL("./measure.js", import.meta.url));
    const child = spawn(process.execPath, [script, JSON.stringify({ ...competitor, threads })], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let errors = "";
    let encodedMs;
    let impatient = false;
    const patience = setTimeout(() => {
      impatient = true;
      child.kill("SIGKILL");
    }, 1000 * Number(values.limit));
    createInterface({ input: child.stdout }).on("line", (line) => {
      const json = /^FIGURE (.*)$/.exec(line)?.[1];
      if (json === undefined) return;
      const figure = JSON.parse(json);
      // llama.cpp tells in its log alone how long it encoded a picture.
      const size = /^first-word\.(.*)$/.exec(figure.id)?.[1];
      if (size !== undefined && encodedMs !== undefined) {
        onFigure({ id: `vision.${size}`, value: encodedMs });
      }
      onFigure(figure);
    });
    child.stderr.on("data", (data) => {
      errors = (errors + data).slice(-10_000);
      const told = [...errors.matchAll(/image slice encoded in (\d+) ms/g)].at(-1)?.[1];
      if (told !== undefined) encodedMs = Number(told);
    });
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(patience);
      if (code === 0) return resolve(undefined);
      if (impatient) return resolve(`what is missing takes longer than ${values.limit} s a round`);
      const [message] = errors
        .trim()
        .split("\n")
        .filter((line) => /error/i.test(line))
        .slice(-1);
      resolve(`not available here, exit code ${code}: ${message ?? "it said nothing"}`);
    });
  });
}
