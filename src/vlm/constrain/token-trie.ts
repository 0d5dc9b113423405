// The tokens of a vocabulary as a tree of their bytes, in one row: a node, then everything below it. Made once for a
// model, in slices. In: the bytes of tokens. Out: nodes to walk, and tokens for a text. It knows no grammars.

import type { TimeSlice } from "../image/time-slice.ts";

/** Longer ones, if a vocabulary has any, are never used. */
export const LONGEST_TOKEN = 255;

/** One entry per node. */
export class TokenTrie {
  /** (nodes) the last byte on the way to a node */
  readonly byte: Uint8Array;
  /** (nodes) from 1 */
  readonly depth: Uint8Array;
  /** (nodes) the node behind everything below it */
  readonly end: Int32Array;
  /** (nodes) the token that ends here; -1: none */
  readonly token: Int32Array;
  readonly nodes: number;
  /** (nodes) the node in front, -1 for the first byte of a token */
  readonly parent: Int32Array;
  /** (256) the nodes of each byte, in order */
  readonly byByte: readonly Int32Array[];
  /** One more than the highest id. */
  readonly vocabSize: number;

  private constructor(nodes: readonly Uint8Array[], tokens: Int32Array, vocabSize: number) {
    [this.byte, this.depth] = [nodes[0]!, nodes[1]!];
    this.nodes = this.byte.length;
    this.token = tokens;
    this.vocabSize = vocabSize;
    this.end = new Int32Array(this.nodes);
    this.parent = new Int32Array(this.nodes);
    const open: number[] = [];
    for (let node = 0; node <= this.nodes; node++) {
      const depth = node === this.nodes ? 0 : this.depth[node]!;
      while (open.length > 0 && (depth === 0 || this.depth[open.at(-1)!]! >= depth)) {
        this.end[open.pop()!] = node;
      }
      if (node < this.nodes) this.parent[node] = open.at(-1) ?? -1;
      open.push(node);
    }
    this.byByte = nodesByByte(this.byte);
  }

  /** @param bytesOf the bytes of a token; undefined for those that are never text */
  static async build(
    vocabSize: number,
    bytesOf: (id: number) => Uint8Array | undefined,
    slice: TimeSlice,
  ): Promise<TokenTrie> {
    // By their first two bytes: no group takes long to sort.
    const groups = new Map<number, { id: number; text: string }[]>();
    for (let id = 0; id < vocabSize; id++) {
      if (slice.over) await slice.rest();
      const bytes = bytesOf(id);
      if (!bytes || bytes.length === 0 || bytes.length > LONGEST_TOKEN) continue;
      const start = 257 * bytes[0]! + (bytes[1] ?? -1) + 1;
      const group = groups.get(start) ?? [];
      groups.set(start, group);
      group.push({ id, text: Buffer.from(bytes).toString("latin1") });
    }
    const byte: number[] = [];
    const depth: number[] = [];
    const token: number[] = [];
    let before = "";
    for (const start of [...groups.keys()].sort((a, b) => a - b)) {
      if (slice.over) await slice.rest();
      const group = groups.get(start)!;
      group.sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : a.id - b.id));
      for (const { id, text } of group) {
        // Of tokens that are spelled alike, one will do.
        if (text === before) continue;
        let same = 0;
        while (same < before.length && before[same] === text[same]) same++;
        for (let i = same; i < text.length; i++) {
          byte.push(text.charCodeAt(i));
          depth.push(i + 1);
          token.push(i === text.length - 1 ? id : -1);
        }
        before = text;
      }
    }
    const nodes = [Uint8Array.from(byte), Uint8Array.from(depth)];
    return new TokenTrie(nodes, Int32Array.from(token), vocabSize);
  }

  /** Tokens that spell a text, each as long as possible. */
  spell(bytes: readonly number[]): number[] {
    const ids: number[] = [];
    for (let at = 0; at < bytes.length; ) {
      const { id, length } = this.#longest(bytes, at);
      if (length === 0) throw new Error("The vocabulary has no token for a byte");
      ids.push(id);
      at += length;
    }
    return ids;
  }

  #longest(bytes: readonly number[], start: number): { id: number; length: number } {
    let found = { id: -1, length: 0 };
    let [node, last] = [0, this.nodes];
    for (let at = start; at < bytes.length; at++) {
      while (node < last && this.byte[node] !== bytes[at]) node = this.end[node]!;
      if (node >= last) break;
      if (this.token[node] !== -1) found = { id: this.token[node]!, length: at - start + 1 };
      last = this.end[node]!;
      node++;
    }
    return found;
  }
}

function nodesByByte(bytes: Uint8Array): Int32Array[] {
  const counts = new Int32Array(256);
  for (const byte of bytes) counts[byte]!++;
  const lists = Array.from(counts, (count) => new Int32Array(count));
  counts.fill(0);
  for (let node = 0; node < bytes.length; node++) {
    const byte = bytes[node]!;
    lists[byte]![counts[byte]!++] = node;
  }
  return lists;
}
