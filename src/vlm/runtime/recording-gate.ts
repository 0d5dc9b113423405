// Who may call a card while steps are recorded on another one: nobody. ONNX Runtime records in CUDA's global mode, in which
// an allocation on any thread of the process fails and spoils the recording. In: work. Out: its result, in its turn.

/** Any number of passes at once, or one recording. */
export class RecordingGate {
  #passing = 0;
  #recording: Promise<void> | undefined;
  #emptied: (() => void) | undefined;

  /** Work that takes no recording beside it. It begins at once where nothing is recorded. */
  async pass<T>(work: () => Promise<T>): Promise<T> {
    while (this.#recording) await this.#recording;
    this.#passing++;
    try {
      return await work();
    } finally {
      this.#passing--;
      if (this.#passing === 0) this.#emptied?.();
    }
  }

  /** Work that takes nothing beside it: what has begun ends first, what comes later waits. */
  async record<T>(work: () => Promise<T>): Promise<T> {
    while (this.#recording) await this.#recording;
    let ended = () => {};
    this.#recording = new Promise((resolve) => {
      ended = resolve;
    });
    try {
      if (this.#passing > 0) await this.#empty();
      return await work();
    } finally {
      this.#recording = undefined;
      ended();
    }
  }

  async #empty(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#emptied = resolve;
    });
    this.#emptied = undefined;
  }
}
