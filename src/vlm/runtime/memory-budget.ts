// How much of a card's memory may be used, and how much is. In: sizes, before anything is taken. Out: nothing, or an error
// that says what does not fit. It knows nothing of who uses it.

import { DeviceError } from "../errors.ts";

/** Of one card. */
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

/** As errors name sizes: rounded up. */
export function mebibytes(byteLength: number): number {
  return Math.ceil(byteLength / 2 ** 20);
}
