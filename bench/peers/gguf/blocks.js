// Numbers as GGUF stores them. In: f32. Out: bytes, in blocks of 32 or 256 numbers with their scales, or one by one.

import { fromFloat32, toFloat32 } from "../../../dist/vlm/checkpoint/dtype.js";

const BLOCK = 32;
/** Numbers of a block of the K formats, and those of it that share a scale. */
const SUPER_BLOCK = 256;
const SUB_BLOCK = 16;

/** Number of the type in the file, numbers in a block, bytes of a block, number of the whole file's type. */
export const FORMATS = {
  F32: { type: 0, block: 1, blockBytes: 4, fileType: 0, encode: asStored },
  F16: { type: 1, block: 1, blockBytes: 2, fileType: 1, encode: halves },
  Q4_0: { type: 2, block: BLOCK, blockBytes: 18, fileType: 2, encode: quantizeQ4 },
  Q8_0: { type: 8, block: BLOCK, blockBytes: 34, fileType: 7, encode: quantizeQ8 },
  Q6_K: { type: 14, block: SUPER_BLOCK, blockBytes: 210, fileType: 18, encode: quantizeQ6K },
};

function asStored(values) {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength);
}

function halves(values) {
  const bits = new Uint16Array(values.length);
  fromFloat32(values, "f16", bits);
  return Buffer.from(bits.buffer);
}

function quantizeQ8(values) {
  const bytes = Buffer.alloc((values.length / BLOCK) * 34);
  for (let block = 0, at = 0; block < values.length; block += BLOCK, at += 34) {
    let largest = 0;
    for (let i = block; i < block + BLOCK; i++) largest = Math.max(largest, Math.abs(values[i]));
    const scale = largest / 127;
    const inverse = scale > 0 ? 1 / scale : 0;
    bytes.writeUInt16LE(halfBits(scale), at);
    for (let i = 0; i < BLOCK; i++) bytes[at + 2 + i] = Math.round(values[block + i] * inverse);
  }
  return bytes;
}

function quantizeQ4(values) {
  const bytes = Buffer.alloc((values.length / BLOCK) * 18);
  for (let block = 0, at = 0; block < values.length; block += BLOCK, at += 18) {
    let extreme = 0;
    for (let i = block; i < block + BLOCK; i++) {
      if (Math.abs(values[i]) > Math.abs(extreme)) extreme = values[i];
    }
    const scale = extreme / -8;
    const inverse = scale === 0 ? 0 : 1 / scale;
    const level = (i) => Math.min(15, (values[block + i] * inverse + 8.5) | 0);
    bytes.writeUInt16LE(halfBits(scale), at);
    for (let i = 0; i < 16; i++) bytes[at + 2 + i] = level(i) | (level(i + 16) << 4);
  }
  return bytes;
}

/**
 * Levels of 6 bits, one scale of 8 bits for 16 numbers, one of 16 bits for all 256. Bytes of a block: 128 with the low
 * four bits, 64 with the high two, 16 scales, the scale of the scales.
 */
function quantizeQ6K(values) {
  const bytes = Buffer.alloc((values.length / SUPER_BLOCK) * 210);
  const scales = new Float32Array(SUPER_BLOCK / SUB_BLOCK);
  for (let block = 0, at = 0; block < values.length; block += SUPER_BLOCK, at += 210) {
    let largest = 0;
    for (let sub = 0; sub < scales.length; sub++) {
      const first = block + sub * SUB_BLOCK;
      let extreme = 0;
      for (let i = first; i < first + SUB_BLOCK; i++) {
        if (Math.abs(values[i]) > Math.abs(extreme)) extreme = values[i];
      }
      scales[sub] = extreme / -32;
      if (Math.abs(scales[sub]) > Math.abs(largest)) largest = scales[sub];
    }
    bytes.writeUInt16LE(halfBits(largest / -128), at + 208);
    const unit = halfValue(largest / -128);
    for (let sub = 0; sub < scales.length; sub++) {
      const level = unit === 0 ? 0 : Math.max(-128, Math.min(127, Math.round(scales[sub] / unit)));
      bytes.writeInt8(level, at + 192 + sub);
      scales[sub] = unit * level;
    }
    for (let i = 0; i < SUPER_BLOCK; i++) {
      const scale = scales[(i / SUB_BLOCK) | 0];
      const steps = scale === 0 ? 0 : Math.round(values[block + i] / scale);
      const level = Math.max(-32, Math.min(31, steps)) + 32;
      // 128 numbers at a time: four runs of 32, the first two in the low halves of the bytes, the others in the high ones.
      const [half, run, lane] = [i >> 7, (i >> 5) & 3, i & 31];
      bytes[at + 64 * half + 32 * (run & 1) + lane] |= (level & 15) << (4 * (run >> 1));
      bytes[at + 128 + 32 * half + lane] |= (level >> 4) << (2 * run);
    }
  }
  return bytes;
}

const one = new Float32Array(1);
const oneHalf = new Uint16Array(1);

function halfBits(value) {
  one[0] = value;
  fromFloat32(one, "f16", oneHalf);
  return oneHalf[0];
}

/** What is left of a number in 16 bits. */
function halfValue(value) {
  one[0] = value;
  fromFloat32(one, "f16", oneHalf);
  toFloat32(new Uint8Array(oneHalf.buffer), "f16", one, 1);
  return one[0];
}
