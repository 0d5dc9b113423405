// Slots as a decoder sees them whose graph is given keys and values as whole values: one slot alone, or several as the
// lanes of a batch. Types only: who implements them decides what lies where, and what is moved for a run.

import type { NamedValues } from "../runtime/session.ts";
import type { KvSlot, SlotPool } from "./decoder-backend.ts";
import type { ValueScales } from "./value-scales.ts";

/** Values to be bound by a run. */
export interface BoundRows {
  /** The graph's inputs `past_key_values.*`. */
  readonly past: NamedValues;
  /** The graph's outputs `present.*`: the same values. */
  readonly present: NamedValues;
}

/** Several slots in one run. */
export interface BoundLanes extends BoundRows {
  /** Which lane each slot is in, in the order of the slots. */
  readonly lanes: readonly number[];
  /** Tokens that lie in each lane; those of no slot compute along, and what they write lies behind their last token. */
  readonly lengths: readonly number[];
}

/** One slot, and several others beside it. */
export interface BoundBeside {
  readonly one: BoundRows;
  readonly others: BoundLanes;
}

/** The place of one sequence. */
export interface LaneSlot extends KvSlot {
  readonly slots: LanePool;
  /**
   * Keeps others out until it is released.
   *
   * @throws DisposedError; Error when another run uses it
   */
  occupy(): () => void;
  /** Counts tokens that a run has appended. */
  grow(tokens: number): void;
}

/** Slots of one decoder. */
export interface LanePool extends SlotPool {
  /** One slot by itself, to which any number of tokens may be appended. */
  bindOne(slot: LaneSlot): Promise<BoundRows>;
  /** Slots to each of which one token is appended. */
  bindLanes(slots: readonly LaneSlot[]): Promise<BoundLanes>;
  /** Both for one run. Left out where what binds the one could move the others. */
  bindBeside?(slot: LaneSlot, slots: readonly LaneSlot[]): Promise<BoundBeside>;
  /** Where kept values are int8: what their levels stand for, to be bound beside them. */
  readonly scales?: Pick<ValueScales, "inputs" | "outputs"> | undefined;
  /**
   * After each run on such values: lets scales grow that were too small, and brings what is kept in step.
   *
   * @param cutOff whether the run cuts off what is too large
   * @returns whether it has done so, and has to be repeated
   */
  settle?(cutOff: boolean): Promise<boolean>;
  dispose(): void | Promise<void>;
}
