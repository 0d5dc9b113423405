// Memory whose tokens lie closely, however many there are: (1, kv heads, tokens, head size) for every part. With each token
// more the heads lie further apart, so that it is laid out anew by whoever writes it. It knows nothing of slots.

import { TimeSlice } from "../event-loop/time-slice.ts";
import type { NamedValues, Session } from "../runtime/session.ts";
import { elementBytes, type Value } from "../runtime/value.ts";
import type { KvBlock } from "./decoder-backend.ts";
import type { KvPart } from "./kv-slabs.ts";

/** Keys and values copied out: for every part and every head the tokens one after the other. */
export interface PackedBlock extends KvBlock {
  readonly bytes: Uint8Array;
}

/** The first tokens of a block. */
export interface PackedTokens {
  readonly block: PackedBlock;
  readonly tokens: number;
}

/** A part of a memory: room for `capacity` tokens, which lie head by head. */
interface PartMemory extends KvPart {
  readonly value: Value;
  /** Of one head. */
  readonly tokenBytes: number;
}

/** Memory for the tokens of one sequence. How far apart the heads lie depends on how many tokens it holds. */
export class GrowingMemory {
  readonly parts: readonly PartMemory[];
  readonly #blocks: readonly Value[];

  constructor(session: Session, parts: readonly KvPart[], capacity: number) {
    const blocks: Value[] = [];
    const memories = new Map<KvPart, PartMemory>();
    for (const type of new Set(parts.map((part) => part.type))) {
      const ofType = parts.filter((part) => part.type === type);
      const elements = ({ heads, width }: KvPart) => heads * capacity * width;
      // One block for all of them: large enough that untouched pages cost nothing.
      const block = session.allocate(type, [ofType.reduce((sum, part) => sum + elements(part), 0)]);
      blocks.push(block);
      let first = 0;
      for (const part of ofType) {
        const value = block.slice(first, [elements(part)]);
        memories.set(part, { ...part, value, tokenBytes: part.width * elementBytes(type) });
        first += elements(part);
      }
    }
    this.#blocks = blocks;
    this.parts = parts.map((part) => memories.get(part)!);
  }

  /** Values of so many tokens, by the graph's names. Dispose them after the run. */
  view(prefix: string, tokens: number): NamedValues {
    return Object.fromEntries(
      this.parts.map(({ name, value, heads, width }) => [
        `${prefix}${name}`,
        value.slice(0, [1, heads, tokens, width]),
      ]),
    );
  }

  dispose(): void {
    for (const { value } of this.parts) value.dispose();
    for (const block of this.#blocks) block.dispose();
  }
}

/**
 * Lays tokens out closely in another memory: the first of those that lie in one, then those of blocks, in order.
 *
 * @param laid tokens that `from` is laid out for
 * @param kept how many of them are wanted
 */
export async function layOut(
  from: GrowingMemory,
  to: GrowingMemory,
  { laid, kept, blocks }: { laid: number; kept: number; blocks: readonly PackedTokens[] },
): Promise<void> {
  const length = blocks.reduce((sum, { tokens }) => sum + tokens, kept);
  const slice = new TimeSlice();
  /** Where the part begins in each block. */
  const offsets = blocks.map(() => 0);
  for (const [index, { heads: count, tokenBytes, value }] of from.parts.entries()) {
    if (slice.over) await slice.rest();
    const target = to.parts[index]!.value;
    const stride = length * tokenBytes;
    const old = { first: 0, stride: laid * tokenBytes, count, byteLength: kept * tokenBytes };
    if (kept > 0) await value.copyPieces(old, target, { first: 0, stride });
    let start = kept;
    for (const [place, { block, tokens }] of blocks.entries()) {
      const pieces = {
        first: start * tokenBytes,
        stride,
        count,
        byteLength: tokens * tokenBytes,
      };
      const step = block.tokens * tokenBytes;
      await target.writePieces(pieces, block.bytes, offsets[place]!, step);
      offsets[place]! += count * step;
      start += tokens;
    }
  }
}
