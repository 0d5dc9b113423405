// An answer that is sent while it is written: pieces of the model's text in, messages in the chat out, sentence by
// sentence, at the pace of the chat. What is ready while a message waits joins the next one. It knows nothing of models.

import type { IncomingMessage } from "../napcat/events.ts";
import { Sentences } from "../reply/sentences.ts";
import type { Deliver } from "./deliver.ts";

/** Sends one answer. */
export class StreamedAnswer {
  readonly #deliver: Deliver;
  readonly #to: IncomingMessage;
  readonly #signal: AbortSignal;
  readonly #sentences = new Sentences();
  #ready = "";
  #said = "";
  #sending: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;

  constructor(deliver: Deliver, to: IncomingMessage, signal: AbortSignal) {
    this.#deliver = deliver;
    this.#to = to;
    this.#signal = signal;
  }

  /** What was sent, as the model wrote it, as soon as nothing more is on its way. */
  async said(): Promise<string> {
    await this.#sending;
    return this.#said;
  }

  /** The model wrote more. */
  push(text: string): void {
    this.#ready += this.#sentences.push(text);
    this.#start();
  }

  /**
   * Sends what is left of the whole answer.
   *
   * @throws {unknown} what sending threw, now or while the answer was written; nothing was sent after that.
   */
  async end(text: string): Promise<void> {
    this.#ready += this.#sentences.end(text);
    this.#start();
    await this.#sending;
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #start(): void {
    if (this.#ready.trim() === "" || this.#failure !== undefined) return;
    this.#sending ??= this.#send().finally(() => {
      this.#sending = undefined;
    });
  }

  async #send(): Promise<void> {
    try {
      while (this.#ready.trim() !== "") {
        await this.#deliver.turn(this.#to, this.#signal);
        const text = this.#ready;
        this.#ready = "";
        await this.#deliver.deliver(text, this.#to, this.#signal, {
          continues: this.#said !== "",
          hasWaited: true,
        });
        this.#said += text;
      }
    } catch (error) {
      this.#failure = { error };
    }
  }
}
