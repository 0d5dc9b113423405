// Types of elements and the sizes of shapes made of them: ONNX Runtime's codes, bytes and typed arrays. It knows no memory.

/** By the names used here. */
export const ELEMENTS = {
  f32: { code: 1, bytes: 4, array: Float32Array },
  u8: { code: 2, bytes: 1, array: Uint8Array },
  i8: { code: 3, bytes: 1, array: Int8Array },
  i32: { code: 6, bytes: 4, array: Int32Array },
  i64: { code: 7, bytes: 8, array: BigInt64Array },
  /** One byte each, 0 or 1. */
  bool: { code: 9, bytes: 1, array: Uint8Array },
  /** Read as raw bits. */
  f16: { code: 10, bytes: 2, array: Uint16Array },
} as const;

export type ElementType = keyof typeof ELEMENTS;
export type TensorData =
  | Float32Array
  | Uint8Array
  | Int8Array
  | Int32Array
  | BigInt64Array
  | Uint16Array;

/** A view of a buffer as an array of elements. */
export function typedArray<T extends ElementType>(
  type: T,
  buffer: ArrayBuffer,
  byteOffset: number,
  length: number,
): InstanceType<(typeof ELEMENTS)[T]["array"]> {
  const { array } = ELEMENTS[type];
  return new array(buffer, byteOffset, length) as InstanceType<(typeof ELEMENTS)[T]["array"]>;
}

/** Bytes of one element. */
export function elementBytes(type: ElementType): number {
  return ELEMENTS[type].bytes;
}

/** The number of an element type in ONNX. */
export function elementCode(type: ElementType): number {
  return ELEMENTS[type].code;
}

/** Bytes of a tensor. */
export function tensorBytes(type: ElementType, dims: readonly number[]): number {
  return elementCount(dims) * ELEMENTS[type].bytes;
}

/** Number of elements of a shape; 1 for a scalar. */
export function elementCount(dims: readonly number[]): number {
  return dims.reduce((product, size) => product * size, 1);
}

/** A shape for people, such as `[1, 24, 1536]`. */
export function shapeText(dims: readonly (number | string)[]): string {
  return `[${dims.join(", ")}]`;
}

/** The element type with this number in ONNX; undefined for those not used here. */
export function elementTypeOf(code: number): ElementType | undefined {
  const types = Object.keys(ELEMENTS) as ElementType[];
  return types.find((type) => ELEMENTS[type].code === code);
}

/** The element type that such an array holds. @throws TypeError for other arrays */
export function typeOf(data: TensorData): ElementType {
  const types = Object.keys(ELEMENTS) as ElementType[];
  const found = types.find((type) => data instanceof ELEMENTS[type].array);
  if (found === undefined) throw new TypeError("Expected a typed array that ONNX has a type for");
  return found;
}
