// A data file of weights, copied to a card as it is: one block of memory, of which every tensor is a part. Sessions and
// kernels use the same. In: a file and what lies where in it. Out: values by name. It knows nothing of graphs.

import { open } from "node:fs/promises";
import { nativePath } from "../../disk.ts";
import type { CudaBlock, CudaDevice, PinnedBlock } from "./cuda-device.ts";
import { memoryOf } from "./device.ts";
import type { MemoryBudget } from "./memory-budget.ts";
import type { NamedValues } from "./session.ts";
import { type ElementType, Value } from "./value.ts";

/** A tensor in a data file. */
export interface StoredTensor {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly number[];
  /** In bytes. */
  readonly offset: number;
}

export interface WeightOptions {
  readonly signal?: AbortSignal | undefined;
  /** Of the model that has them. @default nobody's */
  readonly budget?: MemoryBudget | undefined;
}

/** Two of them: one is read into while the other is copied from. */
const PIECE_BYTES = 2 ** 25;

/** Weights on a card. They must outlive every session that uses them. */
export class CardWeights {
  readonly values: NamedValues;
  readonly #card: CudaDevice;
  readonly #block: CudaBlock;

  private constructor(card: CudaDevice, block: CudaBlock, tensors: readonly StoredTensor[]) {
    this.#card = card;
    this.#block = block;
    const memory = memoryOf(`cuda:${card.index}`);
    this.values = Object.fromEntries(
      tensors.map(({ name, type, shape, offset }) => [
        name,
        Value.onDevice(block.address + BigInt(offset), memory, type, shape, {}),
      ]),
    );
  }

  /** @throws DeviceError `device-memory` */
  static async load(
    card: CudaDevice,
    file: string,
    tensors: readonly StoredTensor[],
    { signal, budget }: WeightOptions = {},
  ): Promise<CardWeights> {
    const handle = await open(nativePath(file), "r");
    try {
      const { size } = await handle.stat();
      const block = await card.allocate(size, "weights", budget);
      try {
        await copyFile(card, handle, { block, size, signal });
        return new CardWeights(card, block, tensors);
      } catch (error) {
        await card.free(block).catch(() => {}); // On a lost card it went with everything else.
        throw error;
      }
    } finally {
      await handle.close();
    }
  }

  async dispose(): Promise<void> {
    for (const value of Object.values(this.values)) value.dispose();
    if (!this.#card.loss.aborted) await this.#card.free(this.#block);
  }
}

interface CopyOfFile {
  readonly block: CudaBlock;
  readonly size: number;
  readonly signal: AbortSignal | undefined;
}

async function copyFile(
  card: CudaDevice,
  handle: Awaited<ReturnType<typeof open>>,
  { block, size, signal }: CopyOfFile,
): Promise<void> {
  const pieces: PinnedBlock[] = [];
  const copying: (Promise<void> | undefined)[] = [undefined, undefined];
  try {
    for (let turn = 0; turn < 2; turn++) pieces.push(await card.pin(PIECE_BYTES));
    for (let start = 0, turn = 0; start < size; start += PIECE_BYTES, turn = 1 - turn) {
      signal?.throwIfAborted();
      await copying[turn];
      const piece = pieces[turn]!;
      const length = Math.min(PIECE_BYTES, size - start);
      const { bytesRead } = await handle.read(new Uint8Array(piece.buffer), 0, length, start);
      if (bytesRead !== length)
        throw new RangeError(
          `A file of weights became shorter: ${start + bytesRead} of ${size} bytes`,
        );
      const target = block.address + BigInt(start);
      const copy = card.call([
        card.copies.toDevice(target, piece.address, length),
        card.synchronize(),
      ]);
      copy.catch(() => {}); // Whoever waits for it next hears of it.
      copying[turn] = copy;
    }
    await Promise.all(copying);
  } finally {
    await Promise.allSettled(copying);
    for (const piece of pieces) await card.unpin(piece).catch(() => {});
  }
}
