// How much of a card's memory a model may use, and how much it does; and what is left for the next one beside others. In:
// sizes, before anything is taken. Out: nothing, or an error that says what does not fit. It knows nothing of who uses it.

import { DeviceError } from "../errors.ts";

/** Part of the memory that is left for a model when nobody says how much. */
const DEFAULT_SHARE = 0.9;

/** Of one model on a card. */
export class MemoryBudget {
  /** Bytes that may be in use, weights included. @default infinite */
  limit = Number.POSITIVE_INFINITY;
  readonly #device: string;
  #used = 0;

  /** @param device its name, for errors */
  constructor(device: string) {
    this.#device = device;
  }

  /** Bytes that are in use, or reserved. */
  get used(): number {
    return this.#used;
  }

  /** Bytes that may still be taken. */
  get remaining(): number {
    return this.limit - this.#used;
  }

  /** Is there so much left? @throws DeviceError `device-memory` */
  expectRoom(byteLength: number, what: string): void {
    if (byteLength > this.remaining) throw this.refusal(byteLength, what);
  }

  /** Counts memory that is taken, also by ONNX Runtime by itself. @throws DeviceError `device-memory` */
  reserve(byteLength: number, what: string): void {
    this.expectRoom(byteLength, what);
    this.#used += byteLength;
  }

  /** Takes back what {@link reserve} counted. */
  unreserve(byteLength: number): void {
    this.#used -= byteLength;
  }

  /** The error for what does not fit, by the budget or by the card. */
  refusal(byteLength: number, what: string): DeviceError {
    return new DeviceError(
      "device-memory",
      `${this.#device} has no room for ${what}: ${mebibytes(byteLength)} MiB are needed and ` +
        `${mebibytes(Math.max(0, this.remaining))} MiB are left of what may be used. ` +
        "Use a smaller context or fewer slots, or raise deviceMemoryBytes.",
    );
  }
}

/** Of all models on a card: what one may still take is not free for the next. */
export class CardBudgets {
  readonly #device: string;
  readonly #open = new Set<MemoryBudget>();
  /** Those whose models are being loaded, in turn: what they will keep is known at the end only. */
  readonly #settling = new Map<MemoryBudget, () => void>();
  #turn: Promise<void> = Promise.resolve();

  /** @param device its name, for errors */
  constructor(device: string) {
    this.#device = device;
  }

  /** Bytes that models may still take. */
  get promised(): number {
    return [...this.#open].reduce((sum, budget) => sum + Math.max(0, budget.remaining), 0);
  }

  /** What a model may use that is loaded now, where so many bytes are free and nobody says how much. */
  roomOf(free: number): number {
    return Math.floor(DEFAULT_SHARE * Math.max(0, free - this.promised));
  }

  /**
   * For a model that is about to be loaded; waits for others that are being loaded.
   *
   * @param bytes that it may use @default 90 % of what is free and nobody may still take
   * @param free bytes of the card, asked for when it is its turn
   */
  async open(bytes: number | undefined, free: () => Promise<number>): Promise<MemoryBudget> {
    const budget = new MemoryBudget(this.#device);
    const before = this.#turn;
    this.#turn = before.then(
      () =>
        new Promise((settled) => {
          this.#settling.set(budget, settled);
        }),
    );
    await before;
    try {
      budget.limit = bytes ?? this.roomOf(await free());
      this.#open.add(budget);
      return budget;
    } catch (error) {
      this.close(budget);
      throw error;
    }
  }

  /** Its model is loaded, and needs no more than so many bytes beside what it has: the rest is free for the next. */
  settle(budget: MemoryBudget, further = Number.POSITIVE_INFINITY): void {
    budget.limit = Math.min(budget.limit, budget.used + further);
    this.#settling.get(budget)?.();
    this.#settling.delete(budget);
  }

  /** Its model is gone, or was never loaded. */
  close(budget: MemoryBudget): void {
    this.settle(budget);
    this.#open.delete(budget);
  }
}

/** As errors name sizes: rounded up. */
export function mebibytes(byteLength: number): number {
  return Math.ceil(byteLength / 2 ** 20);
}
