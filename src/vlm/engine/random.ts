// Seeded random numbers: xoshiro128** by Blackman and Vigna, its state filled by splitmix32.
// In: a seed. Out: numbers in [0, 1), the same ones for the same seed everywhere. Not for secrets.

/** A reproducible source of random numbers. */
export class Random {
  readonly #state = new Uint32Array(4);

  /** @param seed Any integer; its lowest 64 bits, as far as a number holds them, make the difference. */
  constructor(seed: number) {
    const low = seed >>> 0;
    const high = Math.floor(seed / 2 ** 32) >>> 0;
    // Two streams, mixed, so that seeds that differ in one half only share no words.
    const first = splitmix32(low);
    const second = splitmix32(high ^ 0x9e3779b9);
    for (let i = 0; i < 4; i++) this.#state[i] = first() ^ second();
    // The one state that xoshiro never leaves.
    if (this.#state.every((word) => word === 0)) this.#state[0] = 1;
  }

  /** The next number in [0, 1), with 53 random bits. */
  next(): number {
    const high = this.#nextWord() >>> 5;
    const low = this.#nextWord() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }

  #nextWord(): number {
    const state = this.#state;
    const result = Math.imul(rotateLeft(Math.imul(state[1]!, 5), 7), 9) >>> 0;
    const shifted = state[1]! << 9;
    state[2]! ^= state[0]!;
    state[3]! ^= state[1]!;
    state[1]! ^= state[2]!;
    state[0]! ^= state[3]!;
    state[2]! ^= shifted;
    state[3] = rotateLeft(state[3]!, 11);
    return result;
  }
}

function splitmix32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let word = state ^ (state >>> 16);
    word = Math.imul(word, 0x21f0aaad);
    word ^= word >>> 15;
    word = Math.imul(word, 0x735a2d97);
    return (word ^ (word >>> 15)) >>> 0;
  };
}

function rotateLeft(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}
