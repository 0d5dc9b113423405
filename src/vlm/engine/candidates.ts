// The tokens still in the running for one step, and the cuts of the reference (spec 7.2): top-k, top-p, min-p.
// In: the scores of a vocabulary. Out: a few ids with weights, and a draw among them. It knows no penalties and no order of cuts.
// A vocabulary has 150,000 entries, and eight chats a step each: what it asks for goes by all that are too low.

import type { HighScores } from "./high-scores.ts";

/** Weights below exp(-30) of the best change no float32 sum, not even 150,000 of them. */
const NEGLIGIBLE_DEPTH = 30;

/** How far below the best, in nats, top-p looks for its tokens: most distributions end early. */
const TOP_P_DEPTHS = [4, 8, 16, 32, Number.POSITIVE_INFINITY] as const;

/** A set of candidates, used again for every step. */
export class Candidates {
  #count = 0;
  /** (count) in rising order. */
  #ids = new Int32Array(256);
  /** (count) probability of each, as a share of that of the best token. */
  #weights = new Float64Array(256);
  /** (count) the weights, sorted. */
  #sorted = new Float64Array(256);
  /** (k) the largest scores, as a heap with the smallest on top. */
  #heap = new Float32Array(0);

  readonly #high: HighScores;
  #temperature = 1;
  #best = 0;

  /** @param high the scores that each step begins with: logits after penalties */
  constructor(high: HighScores) {
    this.#high = high;
  }

  /** Begins a step with no candidates. */
  begin(temperature: number): void {
    const { scores, best } = this.#high;
    this.#temperature = Math.fround(temperature);
    this.#best = this.#scaled(scores[best]!);
    this.#count = 0;
  }

  /** Takes the `k` best, and all that tie with the last of them. */
  takeTopK(k: number): void {
    this.#take(k < this.#high.size ? this.#scaled(this.#kthLargest(k)) : Number.NEGATIVE_INFINITY);
  }

  /** Takes all that are at most `depth` nats below the best. */
  takeDownTo(depth: number): void {
    this.#take(this.#best - depth);
  }

  /** Takes the smallest set whose probabilities reach `topP`. */
  takeTopP(topP: number): void {
    const total = this.#totalWeight();
    for (const depth of TOP_P_DEPTHS) {
      this.takeDownTo(depth);
      // The probability of all that were not taken: if it may go as a whole, nothing that has to stay is missing.
      const rest = Math.max(0, 1 - this.#takenWeight() / total);
      if (depth === Number.POSITIVE_INFINITY) this.#keepTopP(topP, total, 0);
      else if (Math.fround(rest) <= Math.fround(1 - topP)) this.#keepTopP(topP, total, rest);
      else continue;
      return;
    }
  }

  /** Of those taken, keeps the smallest set whose probabilities reach `topP`. */
  keepTopP(topP: number): void {
    this.#keepTopP(topP, this.#takenWeight(), 0);
  }

  /** Of those taken, keeps the ones at least `minP` times as likely as the best. */
  keepMinP(minP: number): void {
    const floor = Math.fround(minP);
    this.#keep((weight) => Math.fround(weight) >= floor);
  }

  /** The candidate that a random number in [0, 1) falls on. */
  draw(random: number): number {
    let rest = random * this.#takenWeight();
    let last = 0;
    for (let i = 0; i < this.#count; i++) {
      if (this.#weights[i] === 0) continue;
      last = this.#ids[i]!;
      rest -= this.#weights[i]!;
      if (rest < 0) return last;
    }
    // Rounding can leave a crumb after the last one.
    return last;
  }

  /** Probability of each candidate, by id. */
  probabilities(): Map<number, number> {
    const total = this.#takenWeight();
    const ids = Array.from(this.#ids.subarray(0, this.#count));
    return new Map(ids.map((id, i) => [id, this.#weights[i]! / total]));
  }

  /** The reference divides in float32, and ties that this makes are ties. */
  #scaled(score: number): number {
    return Math.fround(score / this.#temperature);
  }

  #take(lowest: number): void {
    // What is at -Infinity cannot come, however few others there are.
    const floor = Math.max(lowest, -Number.MAX_VALUE);
    const high = this.#high;
    const { scores, size } = high;
    // Rounding may lift a score a little: the exact test is left to the few that come near.
    const near = Math.max(floor * this.#temperature, -Number.MAX_VALUE);
    const unscaledFloor = Math.max(near - Math.abs(near) * 2e-7, -Number.MAX_VALUE);
    this.#count = 0;
    for (let id = high.next(0, unscaledFloor); id < size; id = high.next(id, unscaledFloor)) {
      for (const end = high.endOf(id); id < end; id++) {
        const score = scores[id]!;
        if (score >= unscaledFloor) this.#add(id, this.#scaled(score), floor);
      }
    }
  }

  #add(id: number, scaled: number, floor: number): void {
    if (scaled < floor) return;
    if (this.#count === this.#ids.length) this.#grow();
    this.#ids[this.#count] = id;
    this.#weights[this.#count] = Math.exp(scaled - this.#best);
    this.#count++;
  }

  #grow(): void {
    const ids = new Int32Array(this.#ids.length * 4);
    const weights = new Float64Array(ids.length);
    ids.set(this.#ids);
    weights.set(this.#weights);
    this.#ids = ids;
    this.#weights = weights;
    this.#sorted = new Float64Array(ids.length);
  }

  /**
   * Sorts upwards, adds probabilities up from `rest`, and drops those with a sum of at most 1 - `topP`; never the best.
   * Of equals at the cut, the lowest ids stay.
   */
  #keepTopP(topP: number, total: number, rest: number): void {
    const sorted = this.#sorted.subarray(0, this.#count);
    sorted.set(this.#weights.subarray(0, this.#count));
    sorted.sort();
    const limit = Math.fround(1 - topP);
    let sum = rest;
    let first = 0;
    for (; first < sorted.length - 1; first++) {
      sum += Math.fround(sorted[first]! / total);
      if (Math.fround(sum) > limit) break;
    }
    const threshold = sorted[first]!;
    let equalsLeft = sorted.lastIndexOf(threshold) - first + 1;
    this.#keep((weight) => weight > threshold || (weight === threshold && equalsLeft-- > 0));
  }

  #keep(stays: (weight: number) => boolean): void {
    let kept = 0;
    for (let i = 0; i < this.#count; i++) {
      const weight = this.#weights[i]!;
      if (!stays(weight)) continue;
      this.#ids[kept] = this.#ids[i]!;
      this.#weights[kept] = weight;
      kept++;
    }
    this.#count = kept;
  }

  #takenWeight(): number {
    let total = 0;
    for (let i = 0; i < this.#count; i++) total += this.#weights[i]!;
    return total;
  }

  /** The weights of the whole vocabulary together. */
  #totalWeight(): number {
    const high = this.#high;
    const { scores, size } = high;
    const floor = (this.#best - NEGLIGIBLE_DEPTH) * this.#temperature;
    let total = 0;
    for (let id = high.next(0, floor); id < size; id = high.next(id, floor)) {
      for (const end = high.endOf(id); id < end; id++) {
        const score = scores[id]!;
        if (score >= floor) total += Math.exp(this.#scaled(score) - this.#best);
      }
    }
    return total;
  }

  #kthLargest(k: number): number {
    const high = this.#high;
    const { scores, size } = high;
    if (this.#heap.length !== k) this.#heap = new Float32Array(k);
    const heap = this.#heap;
    heap.set(scores.subarray(0, k));
    for (let i = (k >> 1) - 1; i >= 0; i--) siftDown(heap, i);
    let smallest = heap[0]!;
    for (let id = high.next(k, smallest); id < size; id = high.next(id, smallest)) {
      for (const end = high.endOf(id); id < end; id++) {
        const score = scores[id]!;
        if (score <= smallest) continue;
        heap[0] = score;
        siftDown(heap, 0);
        smallest = heap[0]!;
      }
    }
    return smallest;
  }
}

/** Restores the heap order below one entry. */
function siftDown(heap: Float32Array, start: number): void {
  const value = heap[start]!;
  let hole = start;
  for (;;) {
    let child = 2 * hole + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && heap[child + 1]! < heap[child]!) child++;
    if (heap[child]! >= value) break;
    heap[hole] = heap[child]!;
    hole = child;
  }
  heap[hole] = value;
}
