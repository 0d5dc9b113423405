// How long the event loop was held: gaps between the calls of a timer of 1 ms.

const EVERY_MS = 1;

export class LoopGaps {
  #timer;
  #last = performance.now();
  #cpu = process.cpuUsage();
  #longest = 0;
  #longestBusy = 0;

  constructor() {
    this.#timer = setInterval(() => this.#tick(), EVERY_MS);
  }

  /** @returns in milliseconds: the longest gap, and the most processor time of this process inside of one. */
  async end() {
    await new Promise((resolve) => setTimeout(resolve, 5));
    clearInterval(this.#timer);
    return { longest: this.#longest, longestBusy: this.#longestBusy };
  }

  #tick() {
    const now = performance.now();
    const cpu = process.cpuUsage();
    const busy = (cpu.user - this.#cpu.user + cpu.system - this.#cpu.system) / 1000;
    this.#longest = Math.max(this.#longest, now - this.#last);
    this.#longestBusy = Math.max(this.#longestBusy, busy);
    this.#last = now;
    this.#cpu = cpu;
  }
}
