// How long the event loop was held: gaps between the calls of a timer of 1 ms.

import { readFileSync } from "node:fs";

const EVERY_MS = 1;

/** Milliseconds that the main thread has computed; where that is not told, all threads of the process. */
function computed() {
  if (process.platform === "linux") {
    return Number(readFileSync("/proc/self/schedstat", "latin1").split(" ")[0]) / 1e6;
  }
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

export class LoopGaps {
  #timer;
  #last = performance.now();
  #computed = computed();
  #longest = 0;
  #longestBusy = 0;

  constructor() {
    this.#timer = setInterval(() => this.#tick(), EVERY_MS);
  }

  /** @returns in milliseconds: the longest gap, and the most that the main thread computed inside of one. */
  async end() {
    await new Promise((resolve) => setTimeout(resolve, 5));
    clearInterval(this.#timer);
    return { longest: this.#longest, longestBusy: this.#longestBusy };
  }

  #tick() {
    const now = performance.now();
    const all = computed();
    this.#longest = Math.max(this.#longest, now - this.#last);
    this.#longestBusy = Math.max(this.#longestBusy, all - this.#computed);
    this.#last = now;
    this.#computed = all;
  }
}
