// How far a conversion or a load has come. In: progress events. Out: a bar on a terminal, plain lines elsewhere.

import { Presets, SingleBar } from "cli-progress";
import type { LoadProgress } from "../vlm/index.ts";
import { print } from "./terminal.ts";

const CONVERTING = "转换模型 converting";
const LOADING = "加载模型 loading";
/** Without a terminal, one line for each part of this size. */
const PLAIN_STEPS = 10;

export interface ProgressDisplay {
  show(progress: LoadProgress): void;
  /** Gives the line and the cursor back; call it however the work ended. */
  end(): void;
}

export function showProgress(isTerminal: boolean = process.stdout.isTTY === true): ProgressDisplay {
  return isTerminal ? new BarProgress() : new PlainProgress();
}

class BarProgress implements ProgressDisplay {
  #bar: SingleBar | undefined;

  show(progress: LoadProgress): void {
    if (progress.type !== "convert") {
      this.end();
      return;
    }
    this.#bar ??= this.#start(progress.done, progress.total);
    this.#bar.setTotal(progress.total);
    this.#bar.update(progress.done, { size: megabytes(progress.done, progress.total) });
  }

  end(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }

  #start(done: number, total: number): SingleBar {
    const bar = new SingleBar(
      {
        stream: process.stdout,
        format: `${CONVERTING} {bar} {percentage}% · {size}`,
        barsize: 30,
        hideCursor: true,
        gracefulExit: false,
      },
      Presets.shades_classic,
    );
    bar.start(total, done, { size: megabytes(done, total) });
    return bar;
  }
}

class PlainProgress implements ProgressDisplay {
  #lastStep = -1;
  #loading = false;

  show(progress: LoadProgress): void {
    if (progress.type === "load") {
      if (!this.#loading) print(`${LOADING} …`);
      this.#loading = true;
      return;
    }
    const step = Math.floor((progress.done / Math.max(1, progress.total)) * PLAIN_STEPS);
    if (step === this.#lastStep) return;
    this.#lastStep = step;
    print(
      `${CONVERTING} ${step * (100 / PLAIN_STEPS)}% · ${megabytes(progress.done, progress.total)}`,
    );
  }

  end(): void {}
}

function megabytes(done: number, total: number): string {
  const number = (bytes: number) => (bytes / 1e6).toFixed(total < 100e6 ? 1 : 0);
  return `${number(done)}/${number(total)} MB`;
}
