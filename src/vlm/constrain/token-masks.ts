// Which tokens may come at a place of a grammar. What an automaton allows by itself is found out once for each of its
// states, by walking the tree of all tokens; where a token reaches beyond it, the walk goes on in what follows.
// In: places. Out: bits. It knows no text and no answer.

import { LRUCache } from "lru-cache";
import type { TimeSlice } from "../image/time-slice.ts";
import type { Automaton } from "./automaton.ts";
import type { Frame, GrammarState, GrammarStates } from "./grammar-states.ts";
import { JsonText } from "./json-text.ts";
import { JsonTextMasks } from "./json-text-masks.ts";
import { LazyDfa } from "./lazy-dfa.ts";
import { allow, type LocalMask, maskBytes, type TokenMask, TokenWalk } from "./local-mask.ts";
import type { TokenTrie } from "./token-trie.ts";
import { TooComplexError } from "./too-complex.ts";

/** Of one automaton. */
const CACHED_BYTES = 8 * 2 ** 20;
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
      if (local.exits.length > 0) this.#goOn(local.exits, next, states, mask, budget);
    }
    this.#masks.set(state, mask);
    return mask;
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
      local = this.#walk.from(automaton, state);
      known.set(state, local);
    }
    return local;
  }

  /** Tokens that end one part and begin what follows. */
  #goOn(
    exits: Int32Array,
    next: Frame | undefined,
    states: GrammarStates,
    mask: TokenMask,
    budget: { steps: number },
  ): void {
    const follows = states.resumed(next);
    if (follows.threads.length === 0) return;
    const { byte, depth, end, token } = this.trie;
    const places = this.#places;
    for (const exit of exits) {
      places[depth[exit]!] = follows;
      const last = end[exit]!;
      for (let node = exit + 1; node < last; ) {
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
}
