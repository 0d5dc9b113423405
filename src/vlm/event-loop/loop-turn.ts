// Who may compute on the main thread: all long computations together have a few milliseconds in each turn of the event
// loop, and those that pause go on in the order in which they paused, one a turn. It knows nothing of what they compute.

import { setImmediate } from "node:timers/promises";

/** Between two turns may lie what began by itself and one that went on, so a pause of others is twice this. */
const TURN_MS = 4;

/** Those who go on, in their order. */
const paused: (() => void)[] = [];
let letsGoOn = false;
let turn = 0;
let over = true;
let end = 0;

/** When whoever computes now has to pause, in milliseconds of `performance.now()`: the same for all who begin in this turn. */
export function endOfTurn(): number {
  if (over) beginTurn();
  return end;
}

/** Resolves in a later turn of the event loop, when everybody who paused before has gone on. */
export function laterTurn(): Promise<void> {
  return new Promise((resolve) => {
    paused.push(resolve);
    if (!letsGoOn) void goOn();
  });
}

async function goOn(): Promise<void> {
  letsGoOn = true;
  while (paused.length > 0) {
    await setImmediate();
    beginTurn();
    paused.shift()?.();
  }
  letsGoOn = false;
}

function beginTurn(): void {
  over = false;
  end = performance.now() + TURN_MS;
  const begun = ++turn;
  void setImmediate().then(() => {
    if (turn === begun) over = true;
  });
}
