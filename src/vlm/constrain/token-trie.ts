// The tokens of a vocabulary as a tree of their bytes, in one row: a node, then everything below it. Made once for a
// model, in slices. In: the bytes of tokens. Out: nodes to walk, and tokens for a text. It knows no grammars.

import { type Steps, WorkCount } from "./steps.ts";

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

  private constructor(columns: Columns, vocabSize: number) {
    this.byte = columns.byte;
    this.depth = columns.depth;
    this.token = columns.token;
    this.end = columns.end;
    this.parent = columns.parent;
    this.byByte = columns.byByte;
    this.nodes = this.byte.length;
    this.vocabSize = vocabSize;
  }

  /** @param bytesOf the bytes of a token; undefined for those that are never text */
  static *build(
    vocabSize: number,
    bytesOf: (id: number) => Uint8Array | undefined,
  ): Steps<TokenTrie> {
    const work = new WorkCount();
    // By their first two bytes: no group takes long to sort.
    const groups = new Map<number, { id: number; text: string }[]>();
    let mostNodes = 0;
    for (let id = 0; id < vocabSize; id++) {
      if (work.adds(32)) yield;
      const bytes = bytesOf(id);
      if (!bytes || bytes.length === 0 || bytes.length > LONGEST_TOKEN) continue;
      const start = 257 * bytes[0]! + (bytes[1] ?? -1) + 1;
      const group = groups.get(start) ?? [];
      groups.set(start, group);
      group.push({ id, text: Buffer.from(bytes).toString("latin1") });
      mostNodes += bytes.length;
    }
    const byte = new Uint8Array(mostNodes);
    const depth = new Uint8Array(mostNodes);
    const token = new Int32Array(mostNodes);
    let nodes = 0;
    let before = "";
    for (const start of [...groups.keys()].sort((a, b) => a - b)) {
      const group = groups.get(start)!;
      group.sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : a.id - b.id));
      if (work.adds(32 * group.length)) yield;
      for (const { id, text } of group) {
        // Of tokens that are spelled alike, one will do.
        if (text === before) continue;
        let same = 0;
        while (same < before.length && before[same] === text[same]) same++;
        for (let i = same; i < text.length; i++) {
          byte[nodes] = text.charCodeAt(i);
          depth[nodes] = i + 1;
          token[nodes] = i === text.length - 1 ? id : -1;
          nodes++;
        }
        before = text;
        if (work.adds(2 * text.length)) yield;
      }
    }
    const own = { byte: byte.slice(0, nodes), depth: depth.slice(0, nodes) };
    yield;
    const { end, parent } = yield* tree(own.depth);
    const byByte = yield* nodesByByte(own.byte);
    const columns = { ...own, token: token.slice(0, nodes), end, parent, byByte };
    return new TokenTrie(columns, vocabSize);
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

type Columns = Pick<TokenTrie, "byte" | "depth" | "token" | "end" | "parent" | "byByte">;

/** What stands above each node, and where everything below it ends. */
function* tree(depths: Uint8Array): Steps<Pick<TokenTrie, "end" | "parent">> {
  const work = new WorkCount();
  const end = new Int32Array(depths.length);
  const parent = new Int32Array(depths.length);
  const open: number[] = [];
  for (let node = 0; node <= depths.length; node++) {
    const depth = depths[node] ?? 0;
    while (open.length > 0 && (depth === 0 || depths[open.at(-1)!]! >= depth)) {
      end[open.pop()!] = node;
    }
    if (node < depths.length) parent[node] = open.at(-1) ?? -1;
    open.push(node);
    if (work.adds(2)) yield;
  }
  return { end, parent };
}

function* nodesByByte(bytes: Uint8Array): Steps<readonly Int32Array[]> {
  const counts = new Int32Array(256);
  for (const byte of bytes) counts[byte]!++;
  yield;
  const lists = Array.from(counts, (count) => new Int32Array(count));
  counts.fill(0);
  const work = new WorkCount();
  for (let node = 0; node < bytes.length; node++) {
    const byte = bytes[node]!;
    lists[byte]![counts[byte]!++] = node;
    if (work.adds(1)) yield;
  }
  return lists;
}
