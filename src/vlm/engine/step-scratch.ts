// Where activations of steps by kernels of our own lie between kernels. In: sizes of a decoder. Out: values on the card, zeros
// at first. It knows nothing of what is computed.

import type { TextConfig } from "../checkpoint/config.ts";
import { CANDIDATES } from "../convert/candidate-search.ts";
import type { DeviceMemory } from "../runtime/device-memory.ts";
import type { ElementType, Value } from "../runtime/value.ts";
import { MOST_PARTS, SEARCH_PARTS } from "./step-plan.ts";

/** For the largest form of a model's steps. */
export class StepScratch {
  readonly hidden: Value;
  readonly qkv: Value;
  readonly mixed: Value;
  readonly inner: Value;
  readonly parts: Value;
  readonly arrived: Value;
  readonly found: Value;
  readonly logits: Value;

  private constructor(values: Record<Exclude<keyof StepScratch, "dispose">, Value>) {
    ({
      hidden: this.hidden,
      qkv: this.qkv,
      mixed: this.mixed,
      inner: this.inner,
      parts: this.parts,
      arrived: this.arrived,
      found: this.found,
      logits: this.logits,
    } = values);
  }

  static async create(memory: DeviceMemory, text: TextConfig, rows: number): Promise<StepScratch> {
    const { hiddenSize, intermediateSize, heads, kvHeads, headSize, vocabSize } = text;
    const make = (type: ElementType, ...dims: number[]) => memory.allocate(type, dims, "a step");
    const values = {
      hidden: await make("f32", rows, hiddenSize),
      qkv: await make("f32", rows, (heads + 2 * kvHeads) * headSize),
      mixed: await make("f16", rows, heads * headSize),
      inner: await make("f16", rows, intermediateSize),
      parts: await make("f32", rows, heads, MOST_PARTS, headSize + 2),
      arrived: await make("i32", rows, kvHeads),
      found: await make("i64", rows, SEARCH_PARTS, CANDIDATES),
      logits: await make("f32", rows, vocabSize),
    };
    // Rows that nobody is in are computed too: of zeros, not of whatever was there. And nobody has arrived yet.
    await memory.finish(Object.values(values).flatMap((value) => memory.clear(value)));
    return new StepScratch(values);
  }

  dispose(): void {
    for (const value of Object.values(this)) (value as Value).dispose();
  }
}
