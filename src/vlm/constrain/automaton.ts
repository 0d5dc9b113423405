// What a piece of a grammar is made of: a deterministic automaton over bytes. Types only.

/** States are numbers >= 0; every state leads to an end. */
export interface Automaton {
  readonly start: number;
  /** @returns -1 where the byte must not come. @throws TooComplexError */
  next(state: number, byte: number): number;
  /** Is what was read so far whole? */
  accepting(state: number): boolean;
  /** Bytes that are missing by the shortest way. */
  distance(state: number): number;
}

/** The shortest bytes that make a text whole. */
export function completion(automaton: Automaton, from: number): number[] {
  const bytes: number[] = [];
  let state = from;
  while (automaton.distance(state) > 0) {
    const wanted = automaton.distance(state) - 1;
    const byte = nearest(automaton, state, wanted);
    bytes.push(byte);
    state = automaton.next(state, byte);
  }
  return bytes;
}

/** Plain letters and digits are looked at first: nobody minds them in the middle of a word. */
const ORDER = [...'a0 "}].-'].map((character) => character.charCodeAt(0));

function nearest(automaton: Automaton, state: number, wanted: number): number {
  const leads = (byte: number) => {
    const next = automaton.next(state, byte);
    return next >= 0 && automaton.distance(next) === wanted;
  };
  const liked = ORDER.find(leads);
  if (liked !== undefined) return liked;
  for (let byte = 0; byte < 256; byte++) if (leads(byte)) return byte;
  throw new Error("No byte leads to the end");
}
