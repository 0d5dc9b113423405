// Copies to a card, from it and within it, in its stream. In: addresses and sizes. Out: calls to put between runs. It counts
// what goes over the bus, and knows nothing of what is copied.

import type { NativeCall } from "./device-thread.ts";
import type { Handle, OffHeapView } from "./ort.ts";
import type { Parameter } from "./ort-functions.ts";

const TO_DEVICE = 1;
const FROM_DEVICE = 2;
const ON_DEVICE = 3;

/** Rows of equal length at equal distances. */
export interface CopyPlace {
  readonly address: Handle;
  /** From the beginning of a row to that of the next, in bytes. */
  readonly pitch: number;
}

/** Describes a call of CUDA's runtime. */
export type DescribeCall = (
  name: string,
  parameters: readonly Parameter[],
  args: readonly (Handle | number | OffHeapView)[],
) => NativeCall;

/** Copies of one card. */
export class CudaCopies {
  /** Bytes that went over the bus since the card was opened. */
  readonly traffic = { toDevice: 0, fromDevice: 0 };
  readonly #stream: Handle;
  readonly #describe: DescribeCall;

  constructor(stream: Handle, describe: DescribeCall) {
    this.#stream = stream;
    this.#describe = describe;
  }

  /** From the host; the source must stay unchanged until the stream was waited for. */
  toDevice(target: Handle, source: Handle | OffHeapView, byteLength: number): NativeCall {
    this.traffic.toDevice += byteLength;
    return this.#copy(target, source, byteLength, TO_DEVICE);
  }

  /** To the host; what was copied is there once the stream was waited for. */
  fromDevice(target: Handle | OffHeapView, source: Handle, byteLength: number): NativeCall {
    this.traffic.fromDevice += byteLength;
    return this.#copy(target, source, byteLength, FROM_DEVICE);
  }

  onDevice(target: Handle, source: Handle, byteLength: number): NativeCall {
    return this.#copy(target, source, byteLength, ON_DEVICE);
  }

  /** Rows of `width` bytes each, on the device. */
  rows(target: CopyPlace, source: CopyPlace, width: number, rows: number): NativeCall {
    const { address: to, pitch: toPitch } = target;
    const { address: from, pitch: fromPitch } = source;
    return this.#describe(
      "cudaMemcpy2DAsync",
      ["address", "size", "address", "size", "size", "size", "int", "address"],
      [to, toPitch, from, fromPitch, width, rows, ON_DEVICE, this.#stream],
    );
  }

  fill(target: Handle, byte: number, byteLength: number): NativeCall {
    const parameters = ["address", "int", "size", "address"] as const;
    return this.#describe("cudaMemsetAsync", parameters, [target, byte, byteLength, this.#stream]);
  }

  #copy(
    target: Handle | OffHeapView,
    source: Handle | OffHeapView,
    byteLength: number,
    kind: number,
  ): NativeCall {
    return this.#describe(
      "cudaMemcpyAsync",
      ["address", "address", "size", "int", "address"],
      [target, source, byteLength, kind, this.#stream],
    );
  }
}
