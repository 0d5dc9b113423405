// How far a pull is. In: its events. Out: a bar for each file and one for all on a terminal, plain lines elsewhere; each with
// the rate and the time that is left.

import { MultiBar as Bars, type MultiBar, Presets, type SingleBar } from "cli-progress";
import type { PullProgress } from "../../vlm/index.ts";
import { type ProgressDisplay, showProgress } from "../progress.ts";
import { print } from "../terminal.ts";
import { bytesText, rateText, timeText } from "./pull-words.ts";

export interface PullDisplay {
  show(progress: PullProgress): void;
  /** A line of its own. */
  say(line: string): void;
  /** Gives the lines and the cursor back; call it however the work ended. */
  end(): void;
}

export function showPull(isTerminal: boolean = process.stdout.isTTY === true): PullDisplay {
  const conversion = showProgress(isTerminal);
  return isTerminal ? new BarsOfPull(conversion) : new LinesOfPull(conversion);
}

type Download = Extract<PullProgress, { type: "download" }>;

const NAME_WIDTH = 24;

class BarsOfPull implements PullDisplay {
  readonly #conversion: ProgressDisplay;
  #bars: MultiBar | undefined;
  #total: SingleBar | undefined;
  readonly #files = new Map<string, SingleBar>();

  constructor(conversion: ProgressDisplay) {
    this.#conversion = conversion;
  }

  show(progress: PullProgress): void {
    switch (progress.type) {
      case "resolved":
        this.say(resolvedLine(progress));
        break;
      case "plan":
        this.say(planLine(progress));
        break;
      case "download":
        // Of a model of several files, each is converted before the next one comes.
        this.#conversion.end();
        this.#download(progress);
        break;
      case "verify":
        this.#verify(progress);
        break;
      case "wait":
        this.say(waitLine(progress));
        break;
      case "convert":
        this.#close();
        this.#conversion.show({
          type: "convert",
          done: progress.doneBytes,
          total: progress.totalBytes,
        });
    }
  }

  say(line: string): void {
    if (this.#bars === undefined) print(line);
    else this.#bars.log(`${line}\n`);
  }

  end(): void {
    this.#close();
    this.#conversion.end();
  }

  #download({ file, fileBytes, fileTotalBytes, ...all }: Download): void {
    const facts = `${bytesText(fileBytes)}/${bytesText(fileTotalBytes)}`;
    this.#bar(file, fileTotalBytes).update(fileBytes, { facts });
    const rate = [rateText(all.bytesPerSecond), timeText(all.secondsLeft)].filter(Boolean);
    this.#total?.setTotal(Math.max(1, all.totalBytes));
    this.#total?.update(all.doneBytes, {
      facts: [`${bytesText(all.doneBytes)}/${bytesText(all.totalBytes)}`, ...rate].join(" · "),
    });
    if (fileBytes >= fileTotalBytes && fileTotalBytes < 2 ** 24) this.#drop(file);
  }

  #verify({ file, doneBytes, totalBytes }: Extract<PullProgress, { type: "verify" }>): void {
    if (totalBytes < 2 ** 24) return;
    const percent = Math.floor((100 * doneBytes) / Math.max(1, totalBytes));
    this.#bar(file, totalBytes).update(totalBytes, { facts: `校验 verifying ${percent}%` });
    if (doneBytes >= totalBytes) this.#drop(file);
  }

  #bar(file: string, total: number): SingleBar {
    this.#bars ??= new Bars(
      {
        stream: process.stdout,
        format: "{name} {bar} {percentage}% · {facts}",
        barsize: 24,
        hideCursor: true,
        gracefulExit: false,
      },
      Presets.shades_classic,
    );
    this.#total ??= this.#bars.create(1, 0, { name: nameCell("全部 total"), facts: "" });
    const known = this.#files.get(file);
    if (known !== undefined) return known;
    const bar = this.#bars.create(Math.max(1, total), 0, { name: nameCell(file), facts: "" });
    this.#files.set(file, bar);
    return bar;
  }

  #drop(file: string): void {
    const bar = this.#files.get(file);
    if (bar !== undefined) this.#bars?.remove(bar);
    this.#files.delete(file);
  }

  #close(): void {
    this.#bars?.stop();
    this.#bars = undefined;
    this.#total = undefined;
    this.#files.clear();
  }
}

/** Without a terminal, a line for each part of this size, and at least one in this time. */
const PLAIN_STEPS = 10;
const PLAIN_MS = 30_000;

class LinesOfPull implements PullDisplay {
  readonly #conversion: ProgressDisplay;
  readonly #finished = new Set<string>();
  #step = -1;
  #at = Number.NEGATIVE_INFINITY;

  constructor(conversion: ProgressDisplay) {
    this.#conversion = conversion;
  }

  show(progress: PullProgress): void {
    switch (progress.type) {
      case "resolved":
        print(resolvedLine(progress));
        break;
      case "plan":
        print(planLine(progress));
        break;
      case "download":
        this.#download(progress);
        break;
      case "verify":
        break;
      case "wait":
        print(waitLine(progress));
        break;
      case "convert":
        this.#conversion.show({
          type: "convert",
          done: progress.doneBytes,
          total: progress.totalBytes,
        });
    }
  }

  say(line: string): void {
    print(line);
  }

  end(): void {
    this.#conversion.end();
  }

  #download(progress: Download): void {
    const { file, fileBytes, fileTotalBytes, doneBytes, totalBytes } = progress;
    if (fileBytes >= fileTotalBytes && !this.#finished.has(file)) {
      this.#finished.add(file);
      print(`${file} ${bytesText(fileTotalBytes)}`);
    }
    const step = Math.floor((PLAIN_STEPS * doneBytes) / Math.max(1, totalBytes));
    const now = performance.now();
    if (step === this.#step && now - this.#at < PLAIN_MS) return;
    this.#step = step;
    this.#at = now;
    print(downloadLine(progress));
  }
}

function downloadLine(progress: Download): string {
  const { doneBytes, totalBytes, file, fileBytes, fileTotalBytes } = progress;
  const percent = Math.floor((100 * doneBytes) / Math.max(1, totalBytes));
  return [
    `下载 downloading ${percent}% · ${bytesText(doneBytes)}/${bytesText(totalBytes)}`,
    `${file} ${Math.floor((100 * fileBytes) / Math.max(1, fileTotalBytes))}%`,
    rateText(progress.bytesPerSecond),
    timeText(progress.secondsLeft),
  ]
    .filter(Boolean)
    .join(" · ");
}

function resolvedLine({ model, host, revision }: Extract<PullProgress, { type: "resolved" }>) {
  return `${model} · ${host} · ${revision.slice(0, 12)}`;
}

type Plan = Extract<PullProgress, { type: "plan" }>;

function planLine({ oneByOne, layout, files, ...bytes }: Plan): string {
  const [total, disk] = [bytesText(bytes.totalBytes), bytesText(bytes.diskBytes)];
  const how = oneByOne
    ? ["下载一个转换一个", "each is converted before the next comes"]
    : layout === undefined
      ? ["全部下载", "all are fetched"]
      : [`${layout} 布局的 ONNX 包，不转换`, `an ONNX package (${layout}), used as it is`];
  const what = `权重 ${files} 个文件共 ${total}，${how[0]}，磁盘还要 ${disk}`;
  return `${what} · weights: ${files} ${files === 1 ? "file" : "files"}, ${total}, ${how[1]}; ${disk} of the disk`;
}

function waitLine({ milliseconds, why }: Extract<PullProgress, { type: "wait" }>): string {
  return `${why}; ${Math.ceil(milliseconds / 1000)} s 后重试 · again in ${Math.ceil(milliseconds / 1000)} s`;
}

function nameCell(name: string): string {
  return name.length > NAME_WIDTH ? `${name.slice(0, NAME_WIDTH - 1)}…` : name.padEnd(NAME_WIDTH);
}
