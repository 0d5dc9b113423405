// Is memory of WebGPU really there? An allocation that fails gives a value like any other, says so in the log alone, and
// every run that touches it is dropped, or refused: answers would be wrong, and nobody would know. One number computed
// with a value tells. In: values, or sizes before anything is loaded. Out: an error where there is no room.

import { elementTypeCode, OnnxModel } from "../convert/onnx-model.ts";
import { DeviceError } from "../errors.ts";
import type { Device } from "../runtime/device.ts";
import { mebibytes } from "../runtime/memory-budget.ts";
import { OrtError } from "../runtime/ort-error.ts";
import { Session } from "../runtime/session.ts";
import { elementBytes, Value } from "../runtime/value.ts";

/** Weights lie in many buffers; that none is larger than an adapter allows is tried by itself. */
const PIECE_BYTES = 128 * 2 ** 20;
/** Dawn's words where it never made one, since it is larger than the adapter's memory or than it allows. */
const NO_BUFFER = /\[Invalid Buffer\b/u;

export type ProbedType = "f32" | "f16";

export class WebGpuMemory {
  readonly #session: Session;
  readonly #type: ProbedType;
  #tried = 0;

  private constructor(session: Session, type: ProbedType) {
    this.#session = session;
    this.#type = type;
  }

  /**
   * @param type of the values that will be asked about
   * @throws ModelLoadError
   */
  static async load(device: Device = "webgpu", type: ProbedType = "f32"): Promise<WebGpuMemory> {
    const session = await Session.load(probe(type).serialize("none", "1"), { device });
    return new WebGpuMemory(session, type);
  }

  /** Was this value given memory? */
  async holds(value: Value): Promise<boolean> {
    // Another number each time: what an earlier run has left behind is not taken for an answer.
    const expected = ++this.#tried;
    const result = new Float32Array(1);
    using first = value.slice(0, [1]);
    using salt = Value.of(Float32Array.of(expected), [1]);
    using y = Value.of(result, [1]);
    try {
      await this.#session.run({ x: first, salt }, { y });
    } catch (error) {
      if (error instanceof OrtError && NO_BUFFER.test(error.message)) return false;
      throw error;
    }
    return result[0] === expected;
  }

  /** @throws DeviceError `device-memory` unless every value was given memory */
  async expect(values: readonly Value[], what: string): Promise<void> {
    for (const value of values) {
      if (!(await this.holds(value))) throw noRoom(what, value.byteLength);
    }
  }

  /**
   * Takes so much memory, looks whether it is there, and gives it back.
   *
   * @param largest bytes of the largest single tensor
   * @throws DeviceError `device-memory`
   */
  async expectRoom(byteLength: number, largest: number, what: string): Promise<void> {
    const sizes = [largest];
    for (let rest = byteLength - largest; rest > 0; rest -= PIECE_BYTES) {
      sizes.push(Math.min(rest, PIECE_BYTES));
    }
    const taken: Value[] = [];
    try {
      for (const size of sizes) {
        const dims = [Math.max(1, Math.ceil(size / elementBytes(this.#type)))];
        taken.push(await this.#session.allocateOnDevice(this.#type, dims, what));
      }
      for (const [index, value] of taken.entries()) {
        if (!(await this.holds(value))) {
          throw index === 0 ? tooLarge(what, largest) : noRoom(what, byteLength);
        }
      }
    } finally {
      for (const value of taken) value.dispose();
    }
  }

  dispose(): Promise<void> {
    return this.#session.dispose();
  }
}

/** The salt, by way of a value beside it: whatever that holds, which may be no number. */
function probe(type: ProbedType): OnnxModel {
  const model = new OnnxModel("memory");
  model.input("x", type, [1]);
  model.input("salt", "f32", [1]);
  model.output("y", "f32", [1]);
  const second = model.constant("second", "i32", [1], [1]);
  const wide = model.node("Cast", "x.f32", ["x"], { to: { int: elementTypeCode("f32") } });
  model.node("Concat", "both", [wide, "salt"], { axis: { int: 0 } });
  model.node("Gather", "y", ["both", second]);
  return model;
}

function noRoom(what: string, byteLength: number): DeviceError {
  return new DeviceError(
    "device-memory",
    `The device webgpu has no room for ${what}: ${mebibytes(byteLength)} MiB are needed. ` +
      "Use a smaller context, fewer slots, or weights of four bits.",
  );
}

function tooLarge(what: string, byteLength: number): DeviceError {
  return new DeviceError(
    "device-memory",
    `The device webgpu has no buffers of ${mebibytes(byteLength)} MiB, and ${what} need one. Use weights of four bits.`,
  );
}
