// Where the keys and values of a pool of slots lie: for every part of the cache a slab, (slots, kv heads, capacity, head
// size), and the pieces of it that belong to some tokens of a row. In: the inputs of a graph. Out: slabs of a session's
// memory. It knows nothing of who has a row.

import type { TimeSlice } from "../event-loop/time-slice.ts";
import type { Session } from "../runtime/session.ts";
import type { TensorSpec } from "../runtime/signature.ts";
import {
  type ElementType,
  elementBytes,
  elementCount,
  type Pieces,
  type Value,
} from "../runtime/value.ts";
import { scaleLevels } from "./value-scales.ts";

/** One input of the graph that grows with the tokens, such as the keys of a layer. */
export interface KvPart {
  /** The graph's input is `past_key_values.<name>`, its output `present.<name>`. */
  readonly name: string;
  readonly type: ElementType;
  readonly heads: number;
  /** Elements of one token in one head. */
  readonly width: number;
}

const PAST = "past_key_values.";

/** Finds the parts among the inputs of a decoder; their types and sizes are those of the graph. */
export function kvParts(inputs: readonly TensorSpec[]): KvPart[] {
  return inputs.flatMap(({ name, type, dims: [, heads, , width] }) => {
    if (!name.startsWith(PAST)) return [];
    if (type === undefined || typeof heads !== "number" || typeof width !== "number") {
      throw new TypeError(`Expected fixed heads and head size for the decoder's input \`${name}\``);
    }
    return [{ name: name.slice(PAST.length), type, heads, width }];
  });
}

/** A part with its memory. */
export interface Slab extends KvPart {
  /** Name of the graph's input. */
  readonly input: string;
  /** (slots, heads, capacity, width) */
  readonly value: Value;
  readonly tokenBytes: number;
  readonly headBytes: number;
}

/** One block for all parts of a type: large enough that its memory goes back to the system when it ends. */
export function reserveSlabs(
  session: Session,
  parts: readonly KvPart[],
  count: number,
  capacity: number,
) {
  const dims = ({ heads, width }: KvPart) => [count, heads, capacity, width];
  const blocks: Value[] = [];
  const slabs = new Map<KvPart, Slab>();
  for (const type of new Set(parts.map((part) => part.type))) {
    const ofType = parts.filter((part) => part.type === type);
    const elements = ofType.reduce((sum, part) => sum + elementCount(dims(part)), 0);
    const block = session.allocate(type, [elements]);
    blocks.push(block);
    let first = 0;
    for (const part of ofType) {
      const tokenBytes = part.width * elementBytes(type);
      const headBytes = capacity * tokenBytes;
      const value = block.slice(first, dims(part));
      slabs.set(part, { ...part, input: `${PAST}${part.name}`, value, tokenBytes, headBytes });
      first += elementCount(dims(part));
    }
  }
  return { blocks, slabs: parts.map((part) => slabs.get(part)!) };
}

/** The same tokens of every head of a row. */
export function piecesOf(slab: Slab, start: number, tokens: number): Pieces {
  return {
    first: start * slab.tokenBytes,
    stride: slab.headBytes,
    count: slab.heads,
    byteLength: tokens * slab.tokenBytes,
  };
}

/** Undefined for keys. */
export function layerOfValues({ name }: KvPart): number | undefined {
  const layer = /^(\d+)\.value$/u.exec(name)?.[1];
  return layer === undefined ? undefined : Number(layer);
}

/** Multiplies levels where they lie, one piece after the other. */
export async function scalePieces(
  value: Value,
  { first, stride, count, byteLength }: Pieces,
  factor: number,
  slice: TimeSlice,
): Promise<void> {
  const levels = new Int8Array(byteLength);
  const bytes = new Uint8Array(levels.buffer);
  for (let piece = 0; piece < count; piece++) {
    if (slice.over) await slice.rest();
    const place = { first: first + piece * stride, stride, count: 1, byteLength };
    await value.readPieces(place, bytes);
    scaleLevels(levels, factor);
    await value.writePieces(place, bytes);
  }
}
