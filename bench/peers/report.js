// What came out, as a table, charts and JSON. In: samples by figure and engine. Out: files, and lines for the terminal.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { figure, short } from "../../dist/cli/bench/figure.js";
import { renderSvg } from "../../dist/vlm/image/decode-image.js";
import { FIGURES } from "./figures.js";

/** @typedef {Map<string, Map<string, number[]>>} Samples by figure, then by engine */

/**
 * @param {{ size: string, cpu: string, threads: number, engines: string[], samples: Samples,
 *   missing: Map<string, string> }} run `missing`: by engine, why it has no figures or not all of them
 * @param {string} dir
 */
export async function writeReport(run, dir) {
  const { samples, missing, ...machine } = run;
  const rows = FIGURES.filter(({ id }) => samples.has(id)).map((name) => ({
    name,
    byEngine: new Map(
      [...samples.get(name.id)].map(([engine, taken]) => [engine, figure(name, taken)]),
    ),
  }));
  const svg = chart(run, rows);
  const table = [title(run), "", ...tableOf(run, rows), "", ...comparisons(rows), ""].join("\n");
  const plain = rows.map(({ name, byEngine }) => ({
    ...name,
    engines: Object.fromEntries(byEngine),
  }));
  const json = { ...machine, missing: Object.fromEntries(missing), figures: plain };
  const files = [
    ["json", `${JSON.stringify(json, undefined, 2)}\n`],
    ["md", table],
    ["svg", svg],
    ["png", await renderSvg(svg)],
  ];
  console.log(`\n${table}`);
  for (const [extension, content] of files) {
    const path = join(dir, `peers-${run.size}.${extension}`);
    await writeFile(path, content);
    console.log(path);
  }
}

function title({ size, cpu, threads }) {
  return `${size}, ${cpu}, ${threads} threads`;
}

/** Minimum, **median** and maximum; `!` marks what varied by more than 30 %. */
function tableOf({ engines, missing }, rows) {
  const cell = (row, engine) => {
    const found = row.byEngine.get(engine);
    if (found === undefined) return "-";
    const { min, median, max, noisy } = found;
    return `${short(min)} **${short(median)}**${noisy ? " !" : ""} ${short(max)}`;
  };
  return [
    `| | ${engines.join(" | ")} | |`,
    `|---|${engines.map(() => "---|").join("")}---|`,
    ...rows.map(
      (row) =>
        `| ${row.name.label} | ${engines.map((engine) => cell(row, engine)).join(" | ")} | ${row.name.unit} |`,
    ),
    "",
    "Minimum, **median**, maximum; `!`: minimum and maximum are more than 30 % of the median apart.",
    ...[...missing].map(([engine, reason]) => `${engine}: ${reason}.`),
  ];
}

/** The better of our number formats against the best peer; in answers against those of 4 bits. */
function comparisons(rows) {
  return rows.flatMap(({ name, byEngine }) => {
    const sign = name.better === "more" ? 1 : -1;
    const best = (wanted) =>
      [...byEngine]
        .filter(([engine]) => wanted(engine))
        .map(([engine, { median }]) => ({ engine, median }))
        .toSorted((a, b) => sign * (b.median - a.median))[0];
    const isOurs = (engine) => engine.startsWith("napcat-vlm");
    const isAnswer = name.id.startsWith("decode.");
    const ours = best(isOurs);
    const peer = best((engine) => !isOurs(engine) && (!isAnswer || /q4/i.test(engine)));
    if (ours === undefined || peer === undefined) return [];
    const times = (ours.median / peer.median) ** sign;
    return [`- ${name.label}: ${ours.engine} is ${short(times)} times as fast as ${peer.engine}`];
  });
}

const [WIDTH, LABEL, BAR, ROW] = [960, 240, 560, 20];

/** A panel for each figure, a bar for each engine, with the spread as a line. */
function chart(run, rows) {
  let y = 60;
  const parts = rows.map(({ name, byEngine }) => {
    const top = y;
    y += ROW * (byEngine.size + 2);
    const largest = Math.max(...[...byEngine.values()].map(({ max }) => max));
    const x = (value) => (LABEL + (Math.max(0, value) / largest) * BAR).toFixed(1);
    const bars = [...byEngine].map(([engine, { min, median, max, noisy }], index) => {
      const line = top + ROW * (index + 1);
      const fill = noisy ? "#e0a458" : engine.startsWith("napcat-vlm") ? "#4878a8" : "#9aa5b1";
      const middle = line + ROW / 2 - 2;
      return (
        `<text x="${LABEL - 8}" y="${middle + 4}" text-anchor="end">${xmlText(engine)}</text>` +
        `<rect x="${LABEL}" y="${line}" width="${(x(median) - LABEL).toFixed(1)}" height="${ROW - 5}" fill="${fill}"/>` +
        `<path d="M${x(min)} ${middle}H${x(max)}" stroke="black"/>` +
        `<text x="${Number(x(max)) + 6}" y="${middle + 4}">${short(median)} ${name.unit}${noisy ? " !" : ""}</text>`
      );
    });
    const better = `${name.better === "more" ? "more" : "less"} is better`;
    return [
      `<text x="16" y="${top + 12}" font-weight="bold">${xmlText(name.label)} (${better})</text>`,
      ...bars,
    ].join("\n");
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y}" font-family="sans-serif" font-size="13">`,
    `<rect width="${WIDTH}" height="${y}" fill="white"/>`,
    `<text x="16" y="32" font-size="18" font-weight="bold">${xmlText(`Beside others: ${title(run)}`)}</text>`,
    ...parts,
    "</svg>",
    "",
  ].join("\n");
}

function xmlText(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
