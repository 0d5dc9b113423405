// One piece of work for everybody who wants the same thing at the same time.
// In: a key, the work, and each waiter's own signal. Out: one result for all. It keeps nothing once the work has ended.
// Not lru-cache's `fetch`: there the first caller's abort rejects everyone.

interface Flight<T> {
  readonly promise: Promise<T>;
  readonly controller: AbortController;
  waiters: number;
}

/** Work in flight, by key. */
export class SharedWork<T> {
  readonly #flights = new Map<string, Flight<T>>();

  /** Pieces of work that somebody waits for. */
  get size(): number {
    return this.#flights.size;
  }

  /**
   * Joins the work under this key, or starts it.
   *
   * A waiter whose signal aborts leaves at once and alone; when the last one has left, the work's own signal aborts.
   *
   * @throws what the work throws, or the reason of the waiter's own signal.
   */
  async run(
    key: string,
    work: (signal: AbortSignal) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    signal?.throwIfAborted();
    const flight = this.#flights.get(key) ?? this.#start(key, work);
    flight.waiters++;
    return new Promise((resolve, reject) => {
      const leave = () => {
        reject(signal?.reason);
        if (--flight.waiters > 0) return;
        // Forgotten first: whoever comes now starts afresh instead of joining what is being stopped.
        this.#forget(key, flight);
        flight.controller.abort(signal?.reason);
      };
      signal?.addEventListener("abort", leave, { once: true });
      flight.promise
        .finally(() => signal?.removeEventListener("abort", leave))
        .then(resolve, reject);
    });
  }

  #start(key: string, work: (signal: AbortSignal) => Promise<T>): Flight<T> {
    const controller = new AbortController();
    const promise = work(controller.signal);
    const flight: Flight<T> = { promise, controller, waiters: 0 };
    this.#flights.set(key, flight);
    const forget = () => this.#forget(key, flight);
    promise.then(forget, forget);
    return flight;
  }

  #forget(key: string, flight: Flight<T>): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key);
  }
}
