// Number formats of stored weights: bf16, f16, f32, little-endian. In: raw bytes. Out: f32, every value checked
// to be finite. Knows no files.

export type WeightDtype = "bf16" | "f16" | "f32";

export const DTYPE_BYTES: Readonly<Record<WeightDtype, number>> = { bf16: 2, f16: 2, f32: 4 };

/** The format's name in a safetensors header, in ours. */
export function weightDtype(stored: string): WeightDtype {
  switch (stored) {
    case "BF16":
      return "bf16";
    case "F16":
      return "f16";
    case "F32":
      return "f32";
    default:
      throw new TypeError(`Expected a dtype of BF16, F16 or F32, got \`${stored}\`.`);
  }
}

const EXPONENT = { bf16: 0x7f80, f16: 0x7c00, f32: 0x7f800000 } as const;

/**
 * Widens `count` stored numbers to f32, exactly.
 *
 * @param bytes aligned to the format's own size
 * @returns false when a value is infinite or not a number; `target` is then of no use
 */
export function toFloat32(
  bytes: Uint8Array,
  dtype: WeightDtype,
  target: Float32Array,
  count: number,
): boolean {
  if (dtype === "f32") return copyFloat32(bytes, target, count);
  const source = new Uint16Array(bytes.buffer, bytes.byteOffset, count);
  const exponent = EXPONENT[dtype];
  let finite = true;
  if (dtype === "bf16") {
    const bits = new Uint32Array(target.buffer, target.byteOffset, count);
    for (let i = 0; i < count; i++) {
      const half = source[i] as number;
      if ((half & exponent) === exponent) finite = false;
      bits[i] = half << 16;
    }
    return finite;
  }
  const table = float16Table();
  for (let i = 0; i < count; i++) {
    const half = source[i] as number;
    if ((half & exponent) === exponent) finite = false;
    target[i] = table[half] as number;
  }
  return finite;
}

function copyFloat32(bytes: Uint8Array, target: Float32Array, count: number): boolean {
  const source = new Uint32Array(bytes.buffer, bytes.byteOffset, count);
  const bits = new Uint32Array(target.buffer, target.byteOffset, count);
  const exponent = EXPONENT.f32;
  let finite = true;
  for (let i = 0; i < count; i++) {
    const word = source[i] as number;
    if ((word & exponent) === exponent) finite = false;
    bits[i] = word;
  }
  return finite;
}

/**
 * Narrows f32 to 16 bits, rounding to the nearest and ties to even. What is too large for f16 becomes its largest
 * number, 65504.
 *
 * @param target as long as `values`, raw bits
 */
export function fromFloat32(
  values: Float32Array,
  dtype: "bf16" | "f16",
  target: Uint16Array,
): void {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  if (dtype === "bf16") {
    for (let i = 0; i < bits.length; i++) {
      const word = bits[i] as number;
      target[i] = (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
    }
    return;
  }
  for (let i = 0; i < bits.length; i++) target[i] = float16Bits(bits[i] as number);
}

const LARGEST_F16 = 0x7bff;
/** Smallest f32 that is rounded beyond the largest f16. */
const ABOVE_F16 = 0x477ff000;
/** Smallest f32 that is a normal f16. */
const NORMAL_F16 = 0x38800000;

function float16Bits(word: number): number {
  const sign = (word >>> 16) & 0x8000;
  const magnitude = word & 0x7fffffff;
  if (magnitude >= ABOVE_F16) return sign | LARGEST_F16;
  if (magnitude >= NORMAL_F16) {
    const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
    return sign | ((rounded - 0x38000000) >>> 13);
  }
  const shift = 126 - (magnitude >>> 23);
  if (shift > 24) return sign;
  const fraction = (magnitude & 0x7fffff) | 0x800000;
  const half = fraction >>> shift;
  const rest = fraction & ((1 << shift) - 1);
  const middle = 1 << (shift - 1);
  return sign | (rest > middle || (rest === middle && (half & 1) === 1) ? half + 1 : half);
}

let float16Values: Float32Array | undefined;

/** All 65,536 half-precision values; a look-up is several times faster than bit arithmetic. */
function float16Table(): Float32Array {
  float16Values ??= Float32Array.from({ length: 65_536 }, (_, half) => float16Value(half));
  return float16Values;
}

function float16Value(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
