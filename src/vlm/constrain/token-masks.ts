// Which tokens may come at a place of a grammar. What an automaton allows by itself is found out once for each of its
// states, by walking the tree of all tokens; where a token reaches beyond it, the walk goes on in what follows.
// In: places. Out: bits. It knows no text and no answer.

import { LRUCache } from "lru-cache";
import type { TimeSlice } from "../image/time-slice.ts";
import type { Automaton } from "./automaton.ts";
import { CharacterKinds } from "./character-kinds.ts";
import type { CodePoints } from "./code-points.ts";
import type { Frame, GrammarState, GrammarStates } from "./grammar-states.ts";
import { JsonText } from "./json-text.ts";
import { JsonTextMasks } from "./json-text-masks.ts";
import { LazyDfa } from "./lazy-dfa.ts";
import { allow, type LocalMask, maskBytes, type TokenMask, TokenWalk } from "./local-mask.ts";
import { TokenClasses } from "./token-classes.ts";
import type { TokenTrie } from "./token-trie.ts";
import { TooComplexError } from "./too-complex.ts";

/** Of one automaton. */
const CACHED_BYTES = 8 * 2 ** 20;
/** Of all vocabularies in kinds of characters. */
const CLASSES_BYTES = 24 * 2 ** 20;
/** Steps of one mask beyond the automata: a hundred times what usual grammars need. */
const MAX_STEPS = 5_000_000;

/** The masks of one vocabulary, for all grammars. */
export class TokenMasks {
  readonly trie: TokenTrie;
  readonly words: number;
  /** By family, then by state. A family that no grammar has any more takes its masks with it. */
  readonly #walk: TokenWalk;
  readonly #texts: JsonTextMasks;
  /** By automaton, then by state. An automaton that no grammar has any more takes its masks with it. */
  readonly #locals = new WeakMap<Automaton, LRUCache<number, LocalMask>>();
  readonly #classes = new WeakMap<Automaton, TokenClasses>();
  readonly #classesByKinds = new LRUCache<string, TokenClasses>({
    maxSize: CLASSES_BYTES,
    sizeCalculation: ({ bytes }) => bytes,
  });
  readonly #masks = new LRUCache<GrammarState, TokenMask>({ max: 256 });
  readonly #places: (GrammarState | undefined)[] = [];

  constructor(trie: TokenTrie) {
    this.trie = trie;
    this.words = Math.ceil(trie.vocabSize / 32);
    this.#walk = new TokenWalk(trie);
    this.#texts = new JsonTextMasks(trie);
  }

  /** @throws TooComplexError */
  of(state: GrammarState, states: GrammarStates): TokenMask {
    const known = this.#masks.get(state);
    if (known) return known;
    const mask = new Uint32Array(this.words);
    const budget = { steps: MAX_STEPS };
    for (const { automaton, state: at, next } of state.threads) {
      const local = this.#local(automaton, at);
      if (local.bits) for (let i = 0; i < mask.length; i++) mask[i]! |= local.bits[i]!;
      if (local.ids) for (const id of local.ids) allow(mask, id);
      if (local.mayEnd) {
        this.#goOnBehind(local.mayEnd, next, states, mask, budget);
      } else if (local.exits.length > 0) {
        const follows = states.resumed(next);
        for (const exit of local.exits) this.#goOn(exit, follows, states, mask, budget);
      }
    }
    this.#masks.set(state, mask);
    return mask;
  }

  /** Reads the vocabulary in the kinds of characters of automata that let many tokens through. */
  async prepareFor(automata: Iterable<Automaton>, slice: TimeSlice): Promise<void> {
    for (const automaton of automata) {
      if (!(automaton instanceof LazyDfa) || this.#classes.has(automaton)) continue;
      const { sets, texts } = automaton;
      const kinds = sets.some(hasManyCharacters) ? CharacterKinds.of(sets, texts) : undefined;
      if (slice.over) await slice.rest();
      if (!kinds) continue;
      const known = this.#classesByKinds.get(kinds.name);
      const classes = known ?? (await TokenClasses.build(this.trie, kinds, slice));
      this.#classesByKinds.set(kinds.name, classes);
      this.#classes.set(automaton, classes);
      await classes.explore(automaton, slice);
    }
  }

  /** Finds out what strings may hold before anybody waits for it. */
  async prepare(slice: TimeSlice): Promise<void> {
    await this.#texts.prepare(slice);
  }

  #local(automaton: Automaton, state: number): LocalMask {
    if (automaton instanceof JsonText) return this.#texts.of(automaton.placeOf(state));
    if (!(automaton instanceof LazyDfa)) throw new TypeError("No such automaton can be walked");
    let known = this.#locals.get(automaton);
    if (!known) {
      known = new LRUCache({ maxSize: CACHED_BYTES, sizeCalculation: maskBytes });
      this.#locals.set(automaton, known);
    }
    let local = known.get(state);
    if (!local) {
      const classes = this.#classes.get(automaton);
      local = classes?.fit(automaton, state)
        ? classes.from(automaton, state)
        : this.#walk.from(automaton, state);
      known.set(state, local);
    }
    return local;
  }

  /** Tokens that end one part at a node and begin what follows. */
  #goOn(
    exit: number,
    follows: GrammarState,
    states: GrammarStates,
    mask: TokenMask,
    budget: { steps: number },
  ): void {
    if (follows.threads.length === 0) return;
    const { depth, end } = this.trie;
    const last = end[exit]!;
    this.#places[depth[exit]!] = follows;
    this.#goDown(exit + 1, last, states, mask, budget);
  }

  /** The same from everywhere at once: what follows mostly begins with one of few bytes, and those nodes are known. */
  #goOnBehind(
    mayEnd: (node: number) => boolean,
    next: Frame | undefined,
    states: GrammarStates,
    mask: TokenMask,
    budget: { steps: number },
  ): void {
    const follows = states.resumed(next);
    if (follows.threads.length === 0) return;
    const { byByte, depth, end, parent } = this.trie;
    for (let byte = 0; byte < 256; byte++) {
      if (!states.next(follows, byte)) continue;
      for (const node of byByte[byte]!) {
        if (--budget.steps < 0) throw new TooComplexError("its tokens take too long to find");
        const above = parent[node]!;
        if (above === -1 || !mayEnd(above)) continue;
        this.#places[depth[above]!] = follows;
        this.#goDown(node, end[node]!, states, mask, budget);
      }
    }
  }

  /** Takes the nodes from one on up to another; the place in front of the first is known. */
  #goDown(
    first: number,
    last: number,
    states: GrammarStates,
    mask: TokenMask,
    budget: { steps: number },
  ): void {
    const { byte, depth, end, token } = this.trie;
    const places = this.#places;
    for (let node = first; node < last; ) {
      if (--budget.steps < 0) throw new TooComplexError("its tokens take too long to find");
      const at = depth[node]!;
      const place = states.next(places[at - 1]!, byte[node]!);
      if (!place) {
        node = end[node]!;
        continue;
      }
      places[at] = place;
      const id = token[node]!;
      if (id >= 0) allow(mask, id);
      node++;
    }
  }
}

/** Sets of so many characters let so many tokens through that it is worth to look at kinds of them. */
const MANY_CHARACTERS = 20;

function hasManyCharacters(set: CodePoints): boolean {
  return set.reduce((sum, [first, last]) => sum + last - first + 1, 0) >= MANY_CHARACTERS;
}
