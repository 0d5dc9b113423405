// Several models behind one seam: the first that is free and well answers. In: requests. Out: the parts of one of them.
// It never changes the model once the first part of an answer was given out, and knows nothing of what the models are.

import { eachUntilAborted, startDeadline } from "../../abort.ts";
import {
  callback,
  integer,
  list,
  matching,
  milliseconds,
  object,
  parseOptions,
} from "../../parse-options.ts";
import { collectStream } from "../collect.ts";
import { resolveDecide } from "../decide-options.ts";
import { channelParts } from "../engine/part-channel.ts";
import { DisposedError, isVlmError } from "../errors.ts";
import { checkForgetRequest, checkRequest } from "../request-options.ts";
import type {
  DecideQuestion,
  DecideRequest,
  DecideResult,
  ForgetRequest,
  ForgetResult,
  GenerateRequest,
  GenerateResult,
  ModelHealth,
  ModelInfo,
  StreamPart,
  VisionLanguageModel,
  WarmRequest,
} from "../vision-language-model.ts";
import { Candidate } from "./candidate.ts";

/** A model, and how much it is given to do. */
export interface FallbackMember {
  readonly model: VisionLanguageModel;
  /** With so many requests of its own unanswered it is passed over while another one has room. @default Infinity */
  readonly maxRequests?: number | undefined;
}

export interface FallbackOptions {
  /** A model that failed is left alone for so long, in milliseconds; after that one request tries it. @default 30000 */
  readonly coolDownMs?: number | undefined;
  /** A model that gave nothing of an answer for so long, in milliseconds, has failed. @default never */
  readonly firstPartTimeoutMs?: number | undefined;
  /** Told when a model failed and another one is asked. What it throws is ignored. */
  readonly onFallback?: ((event: FallbackEvent) => void) | undefined;
}

/** One model failed, another one is asked. */
export interface FallbackEvent {
  readonly from: ModelInfo;
  readonly to: ModelInfo;
  readonly error: unknown;
}

export const DEFAULT_COOL_DOWN_MS = 30_000;

const isModel = (value: unknown) =>
  typeof value === "object" && value !== null && typeof Reflect.get(value, "stream") === "function";

const MEMBERS = list(
  matching<VisionLanguageModel | FallbackMember>(
    "a VisionLanguageModel or an object with one as `model`",
    (value) => isModel(value) || isModel((value as Partial<FallbackMember> | undefined)?.model),
  ),
  "a list of models",
).min(1, { error: "a list of at least one model" });

const MEMBERS_SCHEMA = object({
  models: MEMBERS,
  maxRequests: list(integer(1).optional(), "a list"),
});

const OPTIONS_SCHEMA = object({
  coolDownMs: integer(0, 2 ** 31 - 1).optional(),
  firstPartTimeoutMs: milliseconds().optional(),
  onFallback: callback().optional(),
});

/**
 * Several models as one. A request goes to the first that is well and has room; where that one fails before the first
 * part of its answer, to the next. After the first part nothing is asked again: the error is the caller's.
 *
 * A wrong option and a picture that is none are thrown at once, for no model would take them.
 * If all fail, the error of the first that was asked is thrown. Disposing disposes of all.
 *
 * @throws {TypeError | RangeError} naming every option that is wrong
 *
 * @example
 * const model = fallback([{ model: local, maxRequests: 2 }, openAiVlm({ baseURL: "http://gpu:8000/v1" })]);
 */
export function fallback(
  members: readonly (VisionLanguageModel | FallbackMember)[],
  options: FallbackOptions = {},
): VisionLanguageModel {
  const maxRequests = Array.isArray(members) ? members.map(limitOf) : [];
  parseOptions(MEMBERS_SCHEMA, { models: members, maxRequests }, "fallback");
  parseOptions(OPTIONS_SCHEMA, options, "fallback");
  return new FallbackVlm(members, options);
}

class FallbackVlm implements VisionLanguageModel {
  /** By those that can; not there where none can. */
  readonly decide?: NonNullable<VisionLanguageModel["decide"]>;
  readonly #candidates: readonly Candidate[];
  readonly #options: FallbackOptions;
  #disposing: Promise<void> | undefined;

  constructor(
    members: readonly (VisionLanguageModel | FallbackMember)[],
    options: FallbackOptions,
  ) {
    const coolDownMs = options.coolDownMs ?? DEFAULT_COOL_DOWN_MS;
    this.#candidates = members.map((member) =>
      "stream" in member
        ? new Candidate(member, Number.POSITIVE_INFINITY, coolDownMs)
        : new Candidate(member.model, member.maxRequests ?? Number.POSITIVE_INFINITY, coolDownMs),
    );
    this.#options = options;
    if (this.#candidates.some(({ model }) => model.decide)) {
      this.decide = (request) => this.#decide(request);
    }
  }

  /** Of the model that would be asked next; a prompt has to fit into the smallest context. */
  get info(): ModelInfo {
    const next = this.#next(new Set()) ?? this.#candidates[0]!;
    const contexts = this.#candidates.map(({ model }) => model.info.contextTokens);
    return { ...next.model.info, contextTokens: Math.min(...contexts) };
  }

  get disposed(): boolean {
    return this.#disposing !== undefined;
  }

  /** Ready while one of them is. */
  health(): ModelHealth {
    const ready = { state: "ready", losses: 0 } as const;
    const states = this.#candidates
      .filter(({ model }) => !model.disposed)
      .map(({ model }) => model.health?.() ?? ready);
    return states.find(({ state }) => state === "ready") ?? states[0] ?? { state: "disposed" };
  }

  stream(request: GenerateRequest): AsyncIterable<StreamPart> {
    checkRequest(request);
    return channelParts((push, abandoned) => this.#answer(request, push, abandoned));
  }

  generate(request: GenerateRequest): Promise<GenerateResult> {
    return collectStream(this.stream(request));
  }

  /** The model that would be asked computes ahead, if it can. */
  async warm(request: WarmRequest): Promise<void> {
    await this.#next(new Set())?.model.warm?.(request);
  }

  async forget(request: ForgetRequest): Promise<ForgetResult> {
    checkForgetRequest(request);
    const forgotten = await Promise.all(
      this.#candidates.map(({ model }) => model.forget?.(request) ?? { bytes: 0 }),
    );
    return { bytes: forgotten.reduce((sum, { bytes }) => sum + bytes, 0) };
  }

  dispose(): Promise<void> {
    this.#disposing ??= Promise.all(this.#candidates.map(({ model }) => model.dispose())).then(
      () => {},
    );
    return this.#disposing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** One after the other of those that decide, whoever is well first. */
  async #decide<const Q extends readonly DecideQuestion[]>(
    request: DecideRequest<Q>,
  ): Promise<DecideResult<Q>> {
    resolveDecide(request);
    const tried = new Set(this.#candidates.filter(({ model }) => !model.decide));
    let first: { readonly error: unknown } | undefined;
    for (let candidate = this.#next(tried); candidate; candidate = this.#next(tried)) {
      tried.add(candidate);
      const end = candidate.begin();
      try {
        const result = await candidate.model.decide!(request);
        candidate.succeeded();
        return result;
      } catch (error) {
        request.signal?.throwIfAborted();
        if (isOwnFault(error)) throw error;
        candidate.failed(error);
        first ??= { error };
      } finally {
        end();
      }
    }
    throw first?.error ?? new DisposedError("The model");
  }

  async #answer(
    request: GenerateRequest,
    push: (part: StreamPart) => void,
    abandoned: AbortSignal,
  ): Promise<void> {
    const tried = new Set<Candidate>();
    let first: { readonly error: unknown } | undefined;
    let candidate = this.#next(tried);
    while (candidate !== undefined) {
      tried.add(candidate);
      const failure = await this.#ask(candidate, request, push, abandoned);
      if (failure === undefined) return;
      first ??= failure;
      const next = this.#next(tried);
      if (next !== undefined) this.#tell(candidate, next, failure.error);
      candidate = next;
    }
    throw first?.error ?? new DisposedError("The model");
  }

  /** @returns why this model gave no answer; what another one may not make good is thrown */
  async #ask(
    candidate: Candidate,
    request: GenerateRequest,
    push: (part: StreamPart) => void,
    abandoned: AbortSignal,
  ): Promise<{ readonly error: unknown } | undefined> {
    const stop = startDeadline(undefined, request.signal, abandoned);
    const work = startDeadline(undefined, stop.signal);
    const patience = startDeadline(this.#options.firstPartTimeoutMs);
    patience.signal.addEventListener("abort", () => work.abort(patience.signal.reason));
    let begun = false;
    const end = candidate.begin();
    try {
      stop.signal.throwIfAborted();
      const parts = candidate.model.stream({ ...request, signal: work.signal });
      for await (const part of eachUntilAborted(parts, work.signal)) {
        if (!begun) patience.end();
        begun = true;
        push(part);
      }
      candidate.succeeded();
      return undefined;
    } catch (error) {
      stop.signal.throwIfAborted();
      if (isOwnFault(error)) throw error;
      candidate.failed(error);
      if (begun) throw error;
      return { error };
    } finally {
      end();
      patience.end();
      work.end();
      stop.end();
    }
  }

  #next(tried: ReadonlySet<Candidate>): Candidate | undefined {
    const left = this.#candidates.filter(
      (candidate) => !tried.has(candidate) && !candidate.model.disposed,
    );
    const well = left.filter((candidate) => !candidate.resting);
    return (
      well.find((candidate) => candidate.hasRoom) ??
      leastBy(well, (candidate) => candidate.load) ??
      leastBy(left, (candidate) => candidate.restsUntil)
    );
  }

  #tell(from: Candidate, to: Candidate, error: unknown): void {
    try {
      this.#options.onFallback?.({ from: from.model.info, to: to.model.info, error });
    } catch {
      // A listener that is broken must not cost the answer.
    }
  }
}

function limitOf(member: VisionLanguageModel | FallbackMember): number | undefined {
  return isModel(member) ? undefined : (member as Partial<FallbackMember> | null)?.maxRequests;
}

function leastBy<T>(items: readonly T[], measure: (item: T) => number): T | undefined {
  return items.toSorted((a, b) => measure(a) - measure(b))[0];
}

/** Bytes that are no picture are none for any model. */
function isOwnFault(error: unknown): boolean {
  return isVlmError(error) && error.name === "ImageDecodeError";
}
