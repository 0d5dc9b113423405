// Work that should stop when the process exits: Node waits for native work in progress, however long that takes.

const stops = new Set<() => void>();

/** Calls `stop` if the process exits before the returned function is called. */
export function stopAtExit(stop: () => void): () => void {
  if (stops.size === 0) process.once("exit", stopAll);
  stops.add(stop);
  return () => {
    stops.delete(stop);
    if (stops.size === 0) process.off("exit", stopAll);
  };
}

function stopAll(): void {
  for (const stop of stops) stop();
}
