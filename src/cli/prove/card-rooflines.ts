// What a card can do at best: bytes of its memory and products in 16 bits in a second, measured by the same runtime
// that the model uses. In: a card. Out: numbers.

import { OnnxModel } from "../../vlm/convert/onnx-model.ts";
import type { CudaBlock, CudaDevice } from "../../vlm/runtime/cuda-device.ts";
import { Session } from "../../vlm/runtime/session.ts";
import type { Rooflines } from "./rooflines.ts";

/** Of each of two blocks, where a quarter of what is free is no less. */
const COPY_BYTES = 2 ** 31;
const MATRIX = 8192;
const ROUNDS = 10;
const MATRIX_ROUNDS = 200;

export async function cardRooflines(card: CudaDevice, signal: AbortSignal): Promise<Rooflines> {
  return { memoryGBs: await memory(card), matrixTFLOPs: await matrices(card, signal) };
}

async function memory(card: CudaDevice): Promise<number> {
  const bytes = Math.min(COPY_BYTES, 2 ** Math.floor(Math.log2(card.budget.remaining / 4)));
  const blocks: CudaBlock[] = [];
  try {
    for (let count = 0; count < 2; count++) blocks.push(await card.allocate(bytes, "a copy"));
    const copy = () => card.copies.onDevice(blocks[0]!.address, blocks[1]!.address, bytes);
    await card.call([copy(), card.synchronize()]);
    const start = performance.now();
    await card.call([...Array.from({ length: ROUNDS }, copy), card.synchronize()]);
    const seconds = (performance.now() - start) / 1000;
    return (2 * bytes * ROUNDS) / seconds / 1e9;
  } finally {
    for (const block of blocks) await card.free(block);
  }
}

/** A product of two matrices that the card has made itself: random enough, and nothing to carry. */
async function matrices(card: CudaDevice, signal: AbortSignal): Promise<number> {
  const model = new OnnxModel("product");
  model.input("a", "f16", [MATRIX, MATRIX]);
  model.input("b", "f16", [MATRIX, MATRIX]);
  model.output("c", "f16", [MATRIX, MATRIX]);
  model.node("MatMul", "c", ["a", "b"]);
  const device = `cuda:${card.index}` as const;
  await using session = await Session.load(model.serialize("none", "1"), { device });
  const dims = [MATRIX, MATRIX];
  const [a, b, c] = [
    await session.allocateOnDevice("f16", dims),
    await session.allocateOnDevice("f16", dims),
    await session.allocateOnDevice("f16", dims),
  ];
  // 0x3c3c is 1.06: ordinary numbers, since products with zeros take less power and run faster.
  await card.call([
    card.copies.fill(a.address, 0x3c, a.byteLength),
    card.copies.fill(b.address, 0x3c, b.byteLength),
    card.synchronize(),
  ]);
  const wait = [card.synchronize()];
  // The best of many: a card needs a while to reach its clock.
  let seconds = Number.POSITIVE_INFINITY;
  for (let round = 0; round < MATRIX_ROUNDS; round++) {
    const start = performance.now();
    await session.run({ a, b }, { c }, { after: wait, signal });
    seconds = Math.min(seconds, (performance.now() - start) / 1000);
  }
  return (2 * MATRIX ** 3) / seconds / 1e12;
}
