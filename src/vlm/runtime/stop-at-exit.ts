// What must happen to native work when the process exits: Node waits for work in progress, however long that takes,
// and a library that is torn down while its threads compute crashes. First everything is told to stop, then ended.

const stops = new Set<() => void>();
const ends = new Set<() => void>();

/** Calls `stop` if the process exits before the returned function is called. */
export function stopAtExit(stop: () => void): () => void {
  return add(stops, stop);
}

/** Calls `end` when the process exits, after everything was told to stop. */
export function endAtExit(end: () => void): () => void {
  return add(ends, end);
}

function add(calls: Set<() => void>, call: () => void): () => void {
  if (stops.size + ends.size === 0) process.once("exit", exit);
  calls.add(call);
  return () => {
    calls.delete(call);
    if (stops.size + ends.size === 0) process.off("exit", exit);
  };
}

function exit(): void {
  for (const stop of stops) stop();
  for (const end of ends) end();
}
