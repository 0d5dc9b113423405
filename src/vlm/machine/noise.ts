// Numbers for measurements: weights, activations, keys and values that are nobody's. Made once, and cut into tensors of
// any type. In: a number of bytes. Out: values that last as long as it does. It knows nothing of what is measured.

import { setImmediate } from "node:timers/promises";
import { ELEMENTS, type ElementType, elementCount, tensorBytes } from "../runtime/element-type.ts";
import { Value } from "../runtime/value.ts";

/** Words that are really made; the rest repeats them. No tensor is a multiple of that, so all of them begin elsewhere. */
const MADE_WORDS = 250_007;
/** Where a tensor may begin. */
const STEP_BYTES = 64;
/** Of a float: its sign and its fraction are noise, its size is that of a weight, about 0.01. */
const [NOISE_BITS, SIZE_BITS] = [0x807f_ffff, 0x3c00_0000];

/** One block of memory, of which tensors are views: never the same view twice, for ONNX Runtime keeps equal weights once. */
export class Noise {
  readonly #bytes: ArrayBuffer;
  readonly #cut = new Set<Value>();
  #next = 0;
  #turns = 0;

  private constructor(bytes: ArrayBuffer) {
    this.#bytes = bytes;
  }

  /** @param byteLength of the largest tensor at least */
  static async make(byteLength: number): Promise<Noise> {
    const words = new Int32Array(byteLength / 4);
    let state = 0x2545_f491;
    for (let i = 0; i < Math.min(MADE_WORDS, words.length); i++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      words[i] = (state & NOISE_BITS) | SIZE_BITS;
    }
    for (let start = MADE_WORDS; start < words.length; start += MADE_WORDS) {
      await setImmediate(); // Each piece takes less than a millisecond.
      words.copyWithin(start, 0, Math.min(MADE_WORDS, words.length - start));
    }
    return new Noise(words.buffer);
  }

  /** A tensor of noise. It may be written to. @throws RangeError when it is larger than all of the noise */
  tensor(type: ElementType, dims: readonly number[]): Value {
    const byteLength = tensorBytes(type, dims);
    if (this.#next + byteLength > this.#bytes.byteLength) {
      this.#turns++;
      this.#next = this.#turns * STEP_BYTES;
    }
    const { array } = ELEMENTS[type];
    const value = Value.of(new array(this.#bytes, this.#next, elementCount(dims)), dims);
    this.#next += Math.ceil(byteLength / STEP_BYTES) * STEP_BYTES;
    this.#cut.add(value);
    return value;
  }

  /** Whatever uses its tensors must have ended. */
  dispose(): void {
    for (const value of this.#cut) value.dispose();
    this.#cut.clear();
  }
}
