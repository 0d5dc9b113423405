// Which tokens may come at a place of a grammar. What an automaton allows by itself is found out once for each of its
// states, by walking the tree of all tokens; where a token reaches beyond it, the walk goes on in what follows.
// In: places. Out: bits. It knows no text and no answer.

import { LRUCache } from "lru-cache";
import type { Automaton } from "./automaton.ts";
import { CharacterKinds } from "./character-kinds.ts";
import type { CodePoints } from "./code-points.ts";
import type { Frame, GrammarState, GrammarStates } from "./grammar-states.ts";
import { JsonText } from "./json-text.ts";
import { JsonTextMasks } from "./json-text-masks.ts";
import { LazyDfa } from "./lazy-dfa.ts";
import { allow, type LocalMask, maskBytes, type TokenMask, TokenWalk } from "./local-mask.ts";
import { finish, type Steps, WorkCount } from "./steps.ts";
import { TokenClasses } from "./token-classes.ts";
import type { TokenTrie } from "./token-trie.ts";
import { TooComplexError } from "./too-complex.ts";

/** Of one automaton. */
const CACHED_BYTES = 8 * 2 ** 20;
/** Of all vocabularies in kinds of characters: a dozen or so. */
const CLASSES_BYTES = 32 * 2 ** 20;
/** So many are made for one grammar: each is a reading of the vocabulary. */
const MOST_READINGS = 8;
/** Steps of one mask beyond the automata: a hundred times what usual grammars need. */
const MAX_STEPS = 5_000_000;

/** The masks of one vocabulary, for all grammars. */
export class TokenMasks {
  readonly trie: TokenTrie;
  readonly words: number;
  readonly #walk: TokenWalk;
  readonly #texts: JsonTextMasks;
  /** By automaton, then by state. An automaton that no grammar has any more takes its masks with it. */
  readonly #locals = new WeakMap<Automaton, LRUCache<number, LocalMask>>();
  /** The vocabulary in kinds of characters, by the name of these, and the name that belongs to an automaton. */
  readonly #classes = new LRUCache<string, TokenClasses>({
    maxSize: CLASSES_BYTES,
    sizeCalculation: ({ bytes }) => bytes,
  });
  readonly #kinds = new WeakMap<Automaton, string>();
  readonly #masks = new LRUCache<GrammarState, TokenMask>({ max: 256 });

  constructor(trie: TokenTrie) {
    this.trie = trie;
    this.words = Math.ceil(trie.vocabSize / 32);
    this.#walk = new TokenWalk(trie);
    this.#texts = new JsonTextMasks(trie);
  }

  /** Undefined: it has to be found first. */
  known(state: GrammarState): TokenMask | undefined {
    return this.#masks.get(state);
  }

  /** @throws TooComplexError */
  of(state: GrammarState, states: GrammarStates): TokenMask {
    return this.known(state) ?? finish(this.find(state, states));
  }

  /** The same, without holding anybody up. @throws TooComplexError */
  *find(state: GrammarState, states: GrammarStates): Steps<TokenMask> {
    const search: Search = { states, mask: new Uint32Array(this.words), places: [], steps: 0 };
    const { mask } = search;
    const work = new WorkCount();
    for (const { automaton, state: at, next } of state.threads) {
      const local = yield* this.#local(automaton, at);
      if (local.bits) for (let i = 0; i < mask.length; i++) mask[i]! |= local.bits[i]!;
      if (local.ids) for (const id of local.ids) allow(mask, id);
      if (work.adds(local.bits ? this.words : 8 + (local.ids?.length ?? 0))) yield;
      if (local.mayEnd) {
        yield* this.#goOnBehind(local.mayEnd, next, search, work);
      } else if (local.exits.length > 0) {
        const before = states.cost;
        const follows = states.resumed(next);
        if (work.adds(states.cost - before)) yield;
        for (const exit of local.exits) yield* this.#goOn(exit, follows, search, work);
      }
    }
    this.#masks.set(state, mask);
    return mask;
  }

  /** Reads the vocabulary in the kinds of characters of automata that let many tokens through. */
  *prepareFor(automata: Iterable<Automaton>): Steps<void> {
    let readings = 0;
    for (const automaton of automata) {
      if (!(automaton instanceof LazyDfa) || this.#classesOf(automaton)) continue;
      const { sets, texts } = automaton;
      yield;
      const kinds = sets.some(hasManyCharacters)
        ? yield* CharacterKinds.of(sets, texts)
        : undefined;
      if (!kinds) continue;
      let classes = this.#classes.get(kinds.name);
      if (!classes && readings++ < MOST_READINGS) {
        classes = yield* TokenClasses.build(this.trie, kinds);
        this.#classes.set(kinds.name, classes);
      }
      if (!classes) continue;
      this.#kinds.set(automaton, kinds.name);
      yield* classes.explore(automaton);
    }
  }

  /** Finds out what strings may hold before anybody waits for it. */
  *prepare(): Steps<void> {
    yield* this.#texts.prepare();
  }

  #classesOf(automaton: LazyDfa): TokenClasses | undefined {
    const kinds = this.#kinds.get(automaton);
    return kinds === undefined ? undefined : this.#classes.get(kinds);
  }

  *#local(automaton: Automaton, state: number): Steps<LocalMask> {
    if (automaton instanceof JsonText) return this.#texts.of(automaton.placeOf(state));
    if (!(automaton instanceof LazyDfa)) throw new TypeError("No such automaton can be walked");
    let known = this.#locals.get(automaton);
    if (!known) {
      known = new LRUCache({ maxSize: CACHED_BYTES, sizeCalculation: maskBytes });
      this.#locals.set(automaton, known);
    }
    const found = known.get(state);
    if (found) return found;
    const classes = this.#classesOf(automaton);
    const inKinds = classes && (yield* classes.from(automaton, state));
    const local = inKinds ?? (yield* this.#walk.from(automaton, state));
    known.set(state, local);
    return local;
  }

  /** Tokens that end one part at a node and begin what follows. */
  *#goOn(exit: number, follows: GrammarState, search: Search, work: WorkCount): Steps<void> {
    if (follows.threads.length === 0) return;
    const { depth, end } = this.trie;
    search.places[depth[exit]!] = follows;
    yield* this.#goDown(exit + 1, end[exit]!, search, work);
  }

  /** The same from everywhere at once: what follows mostly begins with one of few bytes, and those nodes are known. */
  *#goOnBehind(
    mayEnd: (node: number) => boolean,
    next: Frame | undefined,
    search: Search,
    work: WorkCount,
  ): Steps<void> {
    const { states, places } = search;
    const cost = states.cost;
    const follows = states.resumed(next);
    if (work.adds(states.cost - cost)) yield;
    if (follows.threads.length === 0) return;
    const { byByte, depth, end, parent } = this.trie;
    for (let byte = 0; byte < 256; byte++) {
      const before = states.cost;
      const begins = states.next(follows, byte) !== undefined;
      if (work.adds(1 + states.cost - before)) yield;
      if (!begins) continue;
      for (const node of byByte[byte]!) {
        step(search);
        if (work.adds(1)) yield;
        const above = parent[node]!;
        if (above === -1 || !mayEnd(above)) continue;
        places[depth[above]!] = follows;
        yield* this.#goDown(node, end[node]!, search, work);
      }
    }
  }

  /** Takes the nodes from one on up to another; the place in front of the first is known. */
  *#goDown(first: number, last: number, search: Search, work: WorkCount): Steps<void> {
    const { byte, depth, end, token } = this.trie;
    const { states, places, mask } = search;
    for (let node = first; node < last; ) {
      step(search);
      const at = depth[node]!;
      const before = states.cost;
      const place = states.next(places[at - 1]!, byte[node]!);
      if (work.adds(1 + states.cost - before)) yield;
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

/** One mask being found. */
interface Search {
  readonly states: GrammarStates;
  readonly mask: TokenMask;
  /** (depth) where the text stands behind the nodes that lead to the one looked at. */
  readonly places: (GrammarState | undefined)[];
  steps: number;
}

function step(search: Search): void {
  if (++search.steps > MAX_STEPS) throw new TooComplexError("its tokens take too long to find");
}

/** Sets of so many characters let so many tokens through that it is worth to look at kinds of them. */
const MANY_CHARACTERS = 20;

function hasManyCharacters(set: CodePoints): boolean {
  return set.reduce((sum, [first, last]) => sum + last - first + 1, 0) >= MANY_CHARACTERS;
}
