// Do kernels of our own compute what the graph computes, and sooner? In: both ways to compute a step, and empty slots. Out:
// how far they were apart, and how long each took on this very card. It decides nothing.

import type { DecodeRow, Scores } from "./decoder-backend.ts";
import type { DeviceSlot, DeviceSlots } from "./device-slots.ts";
import { relativeError } from "./relative-error.ts";

export interface CardRow extends DecodeRow {
  readonly slot: DeviceSlot;
}

type Step = (rows: readonly CardRow[]) => Promise<readonly Scores[]>;

/** Both ways. */
export interface StepWays {
  /** Most chats of each form of the kernels, ascending. */
  readonly forms: readonly number[];
  /** Chats are as long after it as before. */
  readonly byKernels: Step;
  /** Chats are a token longer after it. */
  readonly byGraph: Step;
  /** Appends tokens of text by the graph. */
  readonly read: (ids: Int32Array, slot: DeviceSlot) => Promise<void>;
}

/** Milliseconds of a step. */
export interface StepTimes {
  readonly chats: number;
  readonly kernelsMs: number;
  readonly graphMs: number;
}

export interface StepFindings {
  /** The largest, of the size of the logits. Infinite where something is no number. */
  readonly difference: number;
  /** Of every form that so many slots can need. */
  readonly times: readonly StepTimes[];
}

/** The graph computed what cannot be compared with. */
export class NothingToCompareError extends Error {
  override readonly name = "NothingToCompareError";
}

/** Of the chats of the check: some blocks share out the tokens of the long ones, at borders of their parts and beside them. */
const LENGTHS = [150, 7, 64, 1, 300, 63, 20, 129];
const ROUNDS = 5;

/**
 * Computes steps both ways, for every number of chats that has kernels of its own. Slots must be empty, and are after it.
 *
 * @param now a clock, in milliseconds
 * @throws NothingToCompareError
 */
export async function checkSteps(
  ways: StepWays,
  slots: DeviceSlots,
  vocabSize: number,
  now: () => number = () => performance.now(),
): Promise<StepFindings> {
  // So many slots can need the form that has room for all of them, and all smaller ones.
  const forms = ways.forms.filter((_, index) => (ways.forms[index - 1] ?? 0) < slots.count);
  const rows: CardRow[] = [];
  try {
    for (let index = 0; index < Math.min(forms.at(-1) ?? 0, slots.count); index++) {
      rows.push(await beginChat(ways, slots, vocabSize, index));
    }
    const expected = await logitsOf(await ways.byGraph(rows));
    rewind(rows);
    if (!expected.every((row) => row.every(Number.isFinite))) {
      throw new NothingToCompareError(
        "the graph's own logits are no numbers, so there is nothing to compare with",
      );
    }
    let difference = 0;
    const times: StepTimes[] = [];
    for (const form of forms) {
      const some = rows.slice(0, form);
      const found = await logitsOf(await ways.byKernels(some));
      const errors = found.map((row, index) => relativeError(row, expected[index]!));
      difference = Math.max(difference, ...errors);
      times.push(await measure(ways, some, form, now));
    }
    return { difference, times };
  } finally {
    for (const { slot } of rows) slot.dispose();
  }
}

async function beginChat(
  { read }: StepWays,
  slots: DeviceSlots,
  vocabSize: number,
  index: number,
): Promise<CardRow> {
  const tokens = Math.min(LENGTHS[index % LENGTHS.length]!, slots.capacity - 1);
  const slot = slots.open();
  try {
    await read(
      Int32Array.from({ length: tokens }, (_, i) => (31 * i + index) % vocabSize),
      slot,
    );
    return { slot, id: (index + 1) % vocabSize, position: tokens };
  } catch (error) {
    slot.dispose();
    throw error;
  }
}

/** In turn, so that whatever else the card does is in both; the shortest of each. */
async function measure(
  { byKernels, byGraph }: StepWays,
  rows: readonly CardRow[],
  chats: number,
  now: () => number,
): Promise<StepTimes> {
  let [kernelsMs, graphMs] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let round = 0; round < ROUNDS; round++) {
    const began = now();
    await byKernels(rows);
    const between = now();
    await byGraph(rows);
    graphMs = Math.min(graphMs, now() - between);
    kernelsMs = Math.min(kernelsMs, between - began);
    rewind(rows);
  }
  return { chats, kernelsMs, graphMs };
}

function rewind(rows: readonly CardRow[]): void {
  for (const { slot, position } of rows) slot.truncate(position);
}

async function logitsOf(scores: readonly Scores[]): Promise<Float32Array[]> {
  const found: Float32Array[] = [];
  for (const row of scores) {
    found.push(row instanceof Float32Array ? row.slice() : await row.full());
  }
  return found;
}
