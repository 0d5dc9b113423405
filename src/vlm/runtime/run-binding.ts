// The values of one run: whether they fit the graph, and their handles beside the names they go by, kept alive until the run
// has ended. In: values by name. Out: what ONNX Runtime is given. It knows nothing of devices.

import { addresses } from "./ort.ts";
import type { Signature, TensorSpec } from "./signature.ts";
import { shapeText, type Value } from "./value.ts";

export type NamedValues = Readonly<Record<string, Value>>;

/** @throws TypeError naming an input or output that is missing, unknown, or of another type or shape */
export function expectFit(
  graph: string,
  signature: Signature,
  inputs: NamedValues,
  outputs: NamedValues,
): void {
  for (const { name } of signature.inputs) {
    if (!inputs[name]) throw new TypeError(`${graph} wants an input \`${name}\``);
  }
  for (const [kind, values, specs] of [
    ["input", inputs, signature.inputsByName],
    ["output", outputs, signature.outputsByName],
  ] as const) {
    for (const [name, value] of Object.entries(values)) {
      const spec = specs.get(name);
      if (!spec) throw new TypeError(`${graph} has no ${kind} \`${name}\``);
      if (!fits(value, spec)) {
        throw new TypeError(
          `Expected ${kind} \`${name}\` of ${graph} to be ${spec.type} ${shapeText(spec.dims)}, ` +
            `got ${value.type} ${shapeText(value.dims)}`,
        );
      }
    }
  }
}

function fits(value: Value, spec: TensorSpec): boolean {
  return (
    value.type === spec.type &&
    value.dims.length === spec.dims.length &&
    spec.dims.every((size, axis) => typeof size === "string" || size === value.dims[axis])
  );
}

/** The values that a run holds. */
export class RunBinding {
  readonly #signature: Signature;
  readonly #held: Value[] = [];

  constructor(signature: Signature) {
    this.#signature = signature;
  }

  /** Names and handles, in one order. */
  bind(values: NamedValues) {
    const entries = Object.entries(values);
    const [names, handles] = [addresses(entries.length), addresses(entries.length)];
    for (const [index, [name, value]] of entries.entries()) {
      handles[index] = value.acquire();
      this.#held.push(value);
      names[index] = this.#signature.nameAddresses.get(name)!;
    }
    return [names, handles] as const;
  }

  /** The run has ended. */
  giveBack(): void {
    for (const value of this.#held) value.giveBack();
  }
}
