// Numbers as GGUF stores them. In: f32. Out: bytes, in blocks of 32 numbers with one scale each, or one by one.

import { fromFloat32 } from "../../../dist/vlm/checkpoint/dtype.js";

const BLOCK = 32;

/** Number of the type in the file, numbers in a block, bytes of a block, number of the whole file's type. */
export const FORMATS = {
  F32: { type: 0, block: 1, blockBytes: 4, fileType: 0, encode: asStored },
  F16: { type: 1, block: 1, blockBytes: 2, fileType: 1, encode: halves },
  Q4_0: { type: 2, block: BLOCK, blockBytes: 18, fileType: 2, encode: quantizeQ4 },
  Q8_0: { type: 8, block: BLOCK, blockBytes: 34, fileType: 7, encode: quantizeQ8 },
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

const one = new Float32Array(1);
const oneHalf = new Uint16Array(1);

function halfBits(value) {
  one[0] = value;
  fromFloat32(one, "f16", oneHalf);
  return oneHalf[0];
}
