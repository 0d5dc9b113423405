// Bars with their spread, one panel for each kind of figure. In: a report. Out: an SVG.

import type { BenchReport } from "./bench-report.ts";
import { type Figure, short } from "./figure.ts";

const WIDTH = 960;
const LABEL_WIDTH = 400;
const BAR_WIDTH = 400;
const ROW = 24;
const TOP = 64;

interface Panel {
  readonly title: string;
  readonly figures: readonly Figure[];
}

const PANELS: readonly (readonly [title: string, prefixes: readonly string[]])[] = [
  ["Prompts and answers, tokens a second (more is better)", ["prefill.", "decode."]],
  ["Pictures and first words, milliseconds (less is better)", ["vision.", "first-word."]],
  ["Share of what the machine can do, %", ["reached."]],
  ["Longest gap of the event loop, milliseconds", ["gap."]],
  ["Memory, GiB", ["memory."]],
];

export function chartSvg(report: BenchReport): string {
  const panels = PANELS.map(([title, prefixes]) => ({
    title,
    figures: report.figures.filter(({ id }) => prefixes.some((prefix) => id.startsWith(prefix))),
  })).filter(({ figures }) => figures.length > 0);
  const parts: string[] = [];
  let y = TOP;
  for (const panel of panels) {
    parts.push(panelSvg(panel, y));
    y += ROW * (panel.figures.length + 2);
  }
  const { model, precision, cpu, version } = report;
  const title = `napcat-vlm ${version}: ${model}, ${precision.decoder}, ${cpu} (${report.cpus} threads)`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y}" font-family="sans-serif" font-size="13">`,
    `<rect width="${WIDTH}" height="${y}" fill="white"/>`,
    `<text x="16" y="32" font-size="18" font-weight="bold">${xmlText(title)}</text>`,
    ...parts,
    "</svg>",
    "",
  ].join("\n");
}

function panelSvg({ title, figures }: Panel, top: number): string {
  const largest = Math.max(...figures.map(({ max }) => max), Number.MIN_VALUE);
  const x = (value: number) => LABEL_WIDTH + (Math.max(0, value) / largest) * BAR_WIDTH;
  const rows = figures.map((figure, index) => {
    const y = top + ROW * (index + 1);
    const middle = y + ROW / 2 - 3;
    const fill = figure.noisy ? "#e0a458" : "#4878a8";
    const mark = figure.noisy ? " !" : "";
    return [
      `<text x="${LABEL_WIDTH - 8}" y="${middle + 4}" text-anchor="end">${xmlText(figure.label)}</text>`,
      `<rect x="${LABEL_WIDTH}" y="${y}" width="${number(x(figure.median) - LABEL_WIDTH)}" height="${ROW - 6}" fill="${fill}"/>`,
      `<path d="M${number(x(figure.min))} ${middle}H${number(x(figure.max))}" stroke="black"/>`,
      `<text x="${number(x(figure.max) + 6)}" y="${middle + 4}">${short(figure.median)} ${xmlText(figure.unit)}${mark}</text>`,
    ].join("");
  });
  return [`<text x="16" y="${top + 14}" font-weight="bold">${xmlText(title)}</text>`, ...rows].join(
    "\n",
  );
}

function number(value: number): string {
  return value.toFixed(1);
}

function xmlText(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
