// Some pieces of work at once. In: items, and what to do with each. Out: nothing before all of it has ended. It knows no
// files.

/** Works through items in order, some at once; the first failure ends the others and is thrown when they have ended. */
export async function runAtOnce<T>(
  many: number,
  items: readonly T[],
  work: (item: T) => Promise<void>,
  abort: (reason: unknown) => void,
): Promise<void> {
  const waiting = [...items];
  const worker = async () => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) {
      try {
        await work(item);
      } catch (error) {
        waiting.length = 0;
        abort(error);
        throw error;
      }
    }
  };
  const workers = Array.from({ length: Math.min(many, items.length) }, worker);
  await Promise.allSettled(workers);
  await Promise.all(workers);
}
