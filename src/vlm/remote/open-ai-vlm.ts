// openAiVlm: the seam, served by an engine elsewhere that speaks OpenAI's interface. In: requests. Out: parts, or our errors.
// It decides when to ask again: never after the first part of an answer. What is on the wire, its neighbours know.

import { setTimeout as sleep } from "node:timers/promises";
import { sharedController, startDeadline } from "../../abort.ts";
import { collectStream } from "../collect.ts";
import { resolveDecide } from "../decide-options.ts";
import { channelParts } from "../engine/part-channel.ts";
import { DisposedError, RemoteError } from "../errors.ts";
import { checkRequest } from "../request-options.ts";
import type {
  ChatMessage,
  DecideQuestion,
  DecideRequest,
  DecideResult,
  GenerateRequest,
  GenerateResult,
  ModelInfo,
  StreamPart,
  VisionLanguageModel,
} from "../vision-language-model.ts";
import { CompletionParts } from "./completion-parts.ts";
import { completionBody, imageCount } from "./completion-request.ts";
import { type CompletionBody, NetworkFailure } from "./open-ai-client.ts";
import {
  type OpenAiVlmOptions,
  type ResolvedOpenAiVlmOptions,
  resolveOpenAiVlmOptions,
} from "./open-ai-options.ts";
import { RefusedFields } from "./refused-fields.ts";
import { RemoteServer } from "./remote-server.ts";
import { ServedDecisions } from "./served-decisions.ts";
import { ServerRefusal } from "./server-refusal.ts";
import { withoutOldestTurns } from "./shorter-prompt.ts";

/** What a look at the server found. */
export interface ServerState {
  /** It answers, and serves the model. */
  readonly up: boolean;
  /** Names of the models that it lists. */
  readonly models: readonly string[];
  /** With `up: false`: why. */
  readonly error?: RemoteError;
}

/** A model that a server elsewhere runs. */
export interface OpenAiVlm extends VisionLanguageModel {
  /**
   * Decides from the probabilities of tokens that the server shows (`top_logprobs`).
   *
   * @throws {RemoteError} `remote-no-logprobs` where it shows none, `remote-undecided` where its likeliest tokens are no
   *   beginnings of the options
   */
  decide: NonNullable<VisionLanguageModel["decide"]>;
  /**
   * Asks the server what it serves; `info` knows the model's name and context afterwards, where the server tells them.
   *
   * @throws the signal's reason; whatever else is wrong is in the result
   */
  ping(options?: { readonly signal?: AbortSignal }): Promise<ServerState>;
}

const DEFAULT_CONTEXT_TOKENS = 32_768;
/** Between one try and the next, doubled each time; a server that wants more is left to the caller. */
const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 10_000;
/** How answers end that another try may make whole. */
const CUT: readonly string[] = ["remote-broken", "remote-failed"];

/**
 * A model behind an OpenAI-compatible server: vLLM, SGLang, LMDeploy, Ollama, llama-server, `napcat-vlm start`, a cloud.
 *
 * Nothing is sent before the first request. Disposing ends running requests and cuts the connections; the server stays.
 *
 * @throws {TypeError | RangeError} naming every option that is wrong
 *
 * @example
 * const model = openAiVlm({ baseURL: "http://127.0.0.1:8000/v1", model: "Qwen/Qwen3-VL-8B-Instruct" });
 * installVlm(napcat, { model });
 */
export function openAiVlm(options: OpenAiVlmOptions): OpenAiVlm {
  return new RemoteVlm(resolveOpenAiVlmOptions(options));
}

class RemoteVlm implements OpenAiVlm {
  readonly #options: ResolvedOpenAiVlmOptions;
  readonly #server: RemoteServer;
  readonly #refusedFields = new RefusedFields();
  readonly #disposal = sharedController();
  readonly #decisions: ServedDecisions;
  #disposing: Promise<void> | undefined;

  constructor(options: ResolvedOpenAiVlmOptions) {
    this.#options = options;
    this.#server = new RemoteServer(options);
    this.#decisions = new ServedDecisions({
      generate: (request) => this.generate(request),
      host: this.#server.host,
      thinking: options.thinking,
    });
  }

  get info(): ModelInfo {
    const { model, contextTokens, thinking } = this.#options;
    const { host, served } = this.#server;
    return {
      name: model ?? served?.name ?? host,
      device: host,
      contextTokens: contextTokens ?? served?.contextTokens ?? DEFAULT_CONTEXT_TOKENS,
      thinking,
    };
  }

  get disposed(): boolean {
    return this.#disposing !== undefined;
  }

  stream(request: GenerateRequest): AsyncIterable<StreamPart> {
    checkRequest(request);
    return channelParts(async (push, abandoned) => {
      const { signal: given } = request;
      const stop = startDeadline(undefined, given, this.#disposal.signal, abandoned);
      try {
        stop.signal.throwIfAborted();
        await this.#answer(request, push, stop.signal);
      } finally {
        stop.end();
      }
    });
  }

  async generate(request: GenerateRequest): Promise<GenerateResult> {
    return collectStream(this.stream(request));
  }

  async decide<const Q extends readonly DecideQuestion[]>(
    request: DecideRequest<Q>,
  ): Promise<DecideResult<Q>> {
    const resolved = resolveDecide(request);
    const decisions = await this.#decisions.decide(resolved, request.signal);
    return { decisions: decisions as DecideResult<Q>["decisions"] };
  }

  async ping({ signal }: { readonly signal?: AbortSignal } = {}): Promise<ServerState> {
    signal?.throwIfAborted();
    const stop = startDeadline(undefined, signal, this.#disposal.signal);
    try {
      const served = await this.#server.list(stop.signal);
      const models = served.map(({ name }) => name);
      const { model } = this.#options;
      // Some servers list nothing of what they serve, or other names for it.
      return { up: model === undefined ? models.length > 0 : true, models };
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof RemoteError) return { up: false, models: [], error };
      throw error;
    } finally {
      stop.end();
    }
  }

  dispose(): Promise<void> {
    this.#disposing ??= this.#dispose();
    return this.#disposing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #dispose(): Promise<void> {
    this.#disposal.abort(new DisposedError(`The model at ${this.#server.host}`));
    await this.#server.close();
  }

  /** Asks until there is an answer, or no hope. */
  async #answer(
    request: GenerateRequest,
    push: (part: StreamPart) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { retries, thinking, extraBody } = this.#options;
    let messages: readonly ChatMessage[] = request.messages;
    let droppedTurns = 0;
    let tries = 0;
    let begun = false;
    for (;;) {
      let body: CompletionBody | undefined;
      try {
        const model = this.#options.model ?? (await this.#server.firstModel(signal));
        const whole = completionBody({ ...request, messages }, { model, thinking, extraBody });
        body = this.#refusedFields.without(whole);
        const parts = new CompletionParts({
          opensThought: this.#options.opensThought,
          images: imageCount(messages),
          droppedTurns,
          maxTokens: whole.max_tokens ?? Number.POSITIVE_INFINITY,
          responseFormat: request.responseFormat,
          parallelToolCalls: request.parallelToolCalls,
        });
        await this.#server.ask(body, parts, signal, (part) => {
          if (!begun) request.onQueue?.(0);
          begun = true;
          push(part);
        });
        return;
      } catch (failure) {
        // Whoever aborted hears their own reason, whatever came of the request.
        signal.throwIfAborted();
        if (begun) throw this.#server.error(failure, request);
        if (failure instanceof ServerRefusal && failure.tooLong) {
          const shorter = withoutOldestTurns(messages);
          if (shorter === undefined) throw this.#server.error(failure, request);
          messages = shorter.messages;
          droppedTurns += shorter.droppedTurns;
          continue;
        }
        if (failure instanceof ServerRefusal && body && this.#refusedFields.learn(failure, body)) {
          continue;
        }
        const pauseMs = pauseBefore(tries++, failure);
        if (tries > retries || pauseMs === undefined) throw this.#server.error(failure, request);
        await sleep(pauseMs, undefined, { signal }).catch(() => {});
        signal.throwIfAborted();
      }
    }
  }
}

/** How long to wait before asking again; undefined where that would help nothing. */
function pauseBefore(tries: number, failure: unknown): number | undefined {
  const usual = Math.min(FIRST_PAUSE_MS * 2 ** tries, MAX_PAUSE_MS);
  if (failure instanceof ServerRefusal) {
    if (!failure.passing) return undefined;
    const { retryAfterMs = usual } = failure;
    return retryAfterMs <= MAX_PAUSE_MS ? retryAfterMs : undefined;
  }
  const cut = failure instanceof RemoteError && CUT.includes(failure.code);
  return cut || failure instanceof NetworkFailure ? usual : undefined;
}
