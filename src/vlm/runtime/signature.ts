// What a loaded graph takes and gives: names, element types, sizes. In: a native session. Out: plain data, and the
// names as C strings for the calls to come.

import { addresses, type Handle, type Ort } from "./ort.ts";
import { type ElementType, elementTypeOf } from "./value.ts";

/** One input or output of a graph. */
export interface TensorSpec {
  readonly name: string;
  /** Undefined for element types that are not used here. */
  readonly type: ElementType | undefined;
  /** A number is fixed; a name changes from run to run. */
  readonly dims: readonly (number | string)[];
}

type Kind = "Input" | "Output" | "OverridableInitializer";

export interface Signature {
  readonly inputs: readonly TensorSpec[];
  /** Inputs that a run may leave out. */
  readonly optionalInputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly inputsByName: ReadonlyMap<string, TensorSpec>;
  readonly outputsByName: ReadonlyMap<string, TensorSpec>;
  /** Every name as a NUL-terminated string; valid as long as `nameBytes` is referenced. */
  readonly nameAddresses: ReadonlyMap<string, Handle>;
  readonly nameBytes: readonly Uint8Array[];
}

/** Reads the inputs and outputs of a session. @throws OrtError */
export function readSignature(ort: Ort, session: Handle): Signature {
  const inputs = readSpecs(ort, session, "Input");
  const optionalInputs = readSpecs(ort, session, "OverridableInitializer");
  const outputs = readSpecs(ort, session, "Output");
  const nameBytes: Uint8Array[] = [];
  const nameAddresses = new Map<string, Handle>();
  for (const { name } of [...inputs, ...optionalInputs, ...outputs]) {
    const bytes = Buffer.from(`${name}\0`);
    nameBytes.push(bytes);
    nameAddresses.set(name, ort.address(bytes));
  }
  return {
    inputs,
    optionalInputs,
    outputs,
    inputsByName: new Map([...inputs, ...optionalInputs].map((spec) => [spec.name, spec])),
    outputsByName: new Map(outputs.map((spec) => [spec.name, spec])),
    nameAddresses,
    nameBytes,
  };
}

function readSpecs(ort: Ort, session: Handle, kind: Kind): TensorSpec[] {
  const count = Number(ort.create(`SessionGet${kind}Count`, session));
  return Array.from({ length: count }, (_, index) => {
    const name = readName(ort, session, kind, index);
    const typeInfo = ort.create(`SessionGet${kind}TypeInfo`, session, index);
    try {
      return { name, ...readType(ort, typeInfo) };
    } finally {
      ort.release("ReleaseTypeInfo", typeInfo);
    }
  });
}

function readName(ort: Ort, session: Handle, kind: Kind, index: number): string {
  const allocator = ort.create("GetAllocatorWithDefaultOptions");
  const address = ort.create(`SessionGet${kind}Name`, session, index, allocator);
  try {
    return ort.text(address);
  } finally {
    ort.call("AllocatorFree", allocator, address);
  }
}

function readType(ort: Ort, typeInfo: Handle): Pick<TensorSpec, "type" | "dims"> {
  const tensorInfo = ort.create("CastTypeInfoToTensorInfo", typeInfo); // belongs to typeInfo
  if (tensorInfo === 0n) return { type: undefined, dims: [] };
  const type = elementTypeOf(Number(ort.create("GetTensorElementType", tensorInfo)));
  const rank = Number(ort.create("GetDimensionsCount", tensorInfo));
  const sizes = new BigInt64Array(new ArrayBuffer(8 * rank));
  const symbols = addresses(rank);
  ort.call("GetDimensions", tensorInfo, sizes, rank);
  ort.call("GetSymbolicDimensions", tensorInfo, symbols, rank);
  const dims = Array.from(sizes, (size, axis) => {
    if (size >= 0n) return Number(size);
    return ort.text(symbols[axis]!) || "?";
  });
  return { type, dims };
}
