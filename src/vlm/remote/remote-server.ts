// One server of OpenAI's interface, asked once at a time. In: bodies. Out: parts of an answer as they come, what the server
// lists, or our errors. How long it may be silent is decided here; whether to ask again is not.

import { startDeadline, untilAborted } from "../../abort.ts";
import { RemoteError } from "../errors.ts";
import type { GenerateRequest, StreamPart } from "../vision-language-model.ts";
import type { CompletionParts, NoAnswer } from "./completion-parts.ts";
import { textsOf } from "./completion-request.ts";
import { errorOfFailure } from "./failure.ts";
import { type CompletionBody, OpenAiClient } from "./open-ai-client.ts";
import type { ResolvedOpenAiVlmOptions } from "./open-ai-options.ts";
import { type ServedModel, servedModels } from "./served-models.ts";

const LIST_TIMEOUT_MS = 10_000;

export class RemoteServer {
  /** Name and port. */
  readonly host: string;
  readonly #options: ResolvedOpenAiVlmOptions;
  readonly #client: OpenAiClient;
  #served: ServedModel | undefined;

  constructor(options: ResolvedOpenAiVlmOptions) {
    this.#options = options;
    this.#client = new OpenAiClient(options);
    this.host = new URL(options.baseURL).host;
  }

  /** What it says of our model, once it was asked. */
  get served(): ServedModel | undefined {
    return this.#served;
  }

  /** Cuts every connection. */
  close(): Promise<void> {
    return this.#client.close();
  }

  /**
   * One request.
   *
   * @throws {RemoteError} an answer that is none, or silence; {@link ServerRefusal}, {@link NetworkFailure}; the signal's reason
   */
  async ask(
    body: CompletionBody,
    parts: CompletionParts,
    signal: AbortSignal,
    push: (part: StreamPart) => void,
  ): Promise<void> {
    const { firstPartTimeoutMs, silenceTimeoutMs } = this.#options;
    const work = startDeadline(undefined, signal);
    const chunks = this.#client.completions(body, work.signal);
    try {
      for (let timeoutMs = firstPartTimeoutMs; ; timeoutMs = silenceTimeoutMs) {
        const next = await this.#within(timeoutMs, chunks.next(), signal);
        if (next.done) break;
        for (const part of parts.push(next.value)) push(part);
      }
    } finally {
      // The connection ends, and with it the work of the server.
      work.abort(new Error("Nobody reads this answer any more."));
      chunks.return(undefined).catch(() => {});
    }
    const last = parts.end();
    if (typeof last === "string") throw this.#noAnswer(last);
    for (const part of last) push(part);
  }

  async firstModel(signal: AbortSignal): Promise<string> {
    const [first] = this.#served === undefined ? await this.list(signal) : [this.#served];
    if (first !== undefined) return first.name;
    const message = `${this.host} lists no model. Name the one to ask (\`model\`).`;
    throw new RemoteError("remote-model-unknown", message, { host: this.host });
  }

  /** What the server lists; what it says of our model is remembered. */
  async list(signal: AbortSignal): Promise<readonly ServedModel[]> {
    const work = startDeadline(undefined, signal);
    try {
      const listed = this.#client.models(work.signal);
      const served = servedModels(await this.#within(LIST_TIMEOUT_MS, listed, signal));
      const { model } = this.#options;
      this.#served = model === undefined ? served[0] : served.find(({ name }) => name === model);
      return served;
    } catch (failure) {
      signal.throwIfAborted();
      throw this.error(failure, { messages: [] });
    } finally {
      work.abort(new Error("Nobody waits for this list any more."));
    }
  }

  /** What a caller hears of a failure: nothing of what was asked, and no key. */
  error(failure: unknown, request: GenerateRequest): unknown {
    const { apiKey = "", headers, model = "the model" } = this.#options;
    const secrets = [...textsOf(request), apiKey, ...Object.values(headers)];
    return errorOfFailure(failure, { host: this.host, model, secrets });
  }

  async #within<T>(timeoutMs: number, promise: Promise<T>, signal: AbortSignal): Promise<T> {
    const patience = startDeadline(timeoutMs, signal);
    try {
      return await untilAborted(promise, patience.signal);
    } catch (error) {
      promise.catch(() => {});
      signal.throwIfAborted();
      if (!patience.signal.aborted) throw error;
      const message = `${this.host} was silent for ${timeoutMs} ms. It may be loading the model or have too much to do.`;
      throw new RemoteError("remote-timed-out", message, { host: this.host });
    } finally {
      patience.end();
    }
  }

  #noAnswer(why: NoAnswer): RemoteError {
    const host = this.host;
    switch (why) {
      case "cut":
        return new RemoteError("remote-broken", `${host} ended in the middle of an answer.`, {
          host,
        });
      case "failed":
        return new RemoteError("remote-failed", `${host} gave an answer up.`, { host });
      case "filtered":
        return new RemoteError("remote-filtered", `${host} withheld an answer: its filter.`, {
          host,
        });
    }
  }
}
