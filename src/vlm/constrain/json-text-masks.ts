// Which tokens may come inside a string of JSON: most of the vocabulary, so it is walked once for each place that a
// string can be in, for all strings of all schemas. Bounds take tokens away from that: those of too many characters,
// and those that would end the string too early. In: a place and what its bounds leave. Out: tokens.

import { LRUCache } from "lru-cache";
import { JsonText, type JsonTextPlace } from "./json-text.ts";
import { allow, forbid, type LocalMask, maskBytes, maskOf } from "./local-mask.ts";
import { type Steps, WorkCount } from "./steps.ts";
import { LONGEST_TOKEN, type TokenTrie } from "./token-trie.ts";

/** Everything that may come at a place of a string without bounds. */
interface TextTokens {
  readonly mask: LocalMask;
  /** Token ids in rising order of their characters, and (characters + 1) where those with so many begin. */
  readonly byLength: Int32Array;
  readonly firstOfLength: Int32Array;
  /** Tokens in which the string ends. */
  readonly closing: readonly { readonly id: number; readonly characters: number }[];
  /** (exits) characters in front of each. */
  readonly exitCharacters: Uint8Array;
}

const CACHED_BYTES = 8 * 2 ** 20;
/** More characters than any token has. */
const FAR = LONGEST_TOKEN + 1;

/** The masks of strings over one vocabulary. */
export class JsonTextMasks {
  readonly #trie: TokenTrie;
  readonly #places = new Map<number, TextTokens>();
  readonly #bounded = new LRUCache<number, LocalMask>({
    maxSize: CACHED_BYTES,
    sizeCalculation: maskBytes,
  });

  constructor(trie: TokenTrie) {
    this.#trie = trie;
  }

  /** Walks all places. */
  *prepare(): Steps<void> {
    for (const place of JsonText.places) this.#places.set(place, yield* this.#walk(place));
  }

  of({ place, room, wanted }: JsonTextPlace): LocalMask {
    const tokens = this.#places.get(place);
    if (!tokens) throw new Error("The places of strings were not prepared");
    if (room >= FAR && wanted === 0) return tokens.mask;
    const [most, least] = [Math.min(FAR, room), Math.min(FAR, wanted)];
    const key = (place * (FAR + 1) + most) * (FAR + 1) + least;
    let mask = this.#bounded.get(key);
    if (!mask) {
      mask = bounded(tokens, most, least, this.#trie.vocabSize);
      this.#bounded.set(key, mask);
    }
    return mask;
  }

  *#walk(place: number): Steps<TextTokens> {
    const { byte, depth, end, token, nodes, vocabSize } = this.#trie;
    const text = JsonText.counting;
    const path = new Int32Array(LONGEST_TOKEN + 1);
    const exits: number[] = [];
    const exitCharacters: number[] = [];
    const closing: { id: number; characters: number }[] = [];
    const found: number[][] = [];
    const work = new WorkCount();
    path[0] = place;
    for (let node = 0; node < nodes; ) {
      if (work.adds(1)) yield;
      const at = depth[node]!;
      const state = text.next(path[at - 1]!, byte[node]!);
      if (state < 0) {
        node = end[node]!;
        continue;
      }
      path[at] = state;
      const id = token[node]!;
      const ended = text.accepting(state);
      if (id >= 0 || ended) {
        const characters = JsonText.characters(state);
        if (id >= 0) {
          found[characters] ??= [];
          found[characters].push(id);
        }
        if (ended && id >= 0) closing.push({ id, characters });
        if (ended && end[node]! > node + 1) {
          exits.push(node);
          exitCharacters.push(characters);
        }
      }
      node++;
    }
    yield;
    const firstOfLength = new Int32Array(FAR + 2);
    const byLength = new Int32Array(found.reduce((sum, ids) => sum + ids.length, 0));
    let count = 0;
    for (let length = 0; length < firstOfLength.length; length++) {
      firstOfLength[length] = count;
      const ids = found[length] ?? [];
      byLength.set(ids, count);
      count += ids.length;
    }
    yield;
    return {
      mask: maskOf(byLength, Int32Array.from(exits), vocabSize),
      byLength,
      firstOfLength,
      closing,
      exitCharacters: Uint8Array.from(exitCharacters),
    };
  }
}

function bounded(tokens: TextTokens, most: number, least: number, vocabSize: number): LocalMask {
  const { mask, byLength, firstOfLength, closing, exitCharacters } = tokens;
  const fits = (characters: number) => characters <= most && characters >= least;
  const exits = mask.exits.filter((_, index) => fits(exitCharacters[index]!));
  const first = firstOfLength[Math.min(FAR, most) + 1]!;
  const bits = mask.bits?.slice() ?? new Uint32Array(Math.ceil(vocabSize / 32));
  for (const id of mask.ids ?? []) allow(bits, id);
  for (const id of byLength.subarray(first)) forbid(bits, id);
  for (const { id, characters } of closing) if (characters < least) forbid(bits, id);
  return { ids: undefined, bits, exits };
}
