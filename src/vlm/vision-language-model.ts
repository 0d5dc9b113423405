// The seam between a bot and whatever sees: types only.
// In: chat messages whose pictures are bytes. Out: a stream of text. It knows nothing of QQ, of HTTP or of Qwen.

/** A piece of text inside a message. */
export interface TextPart {
  readonly type: "text";
  readonly text: string;
}

/** A picture inside a message: the bytes of a file (jpeg, png, gif, webp, avif or bmp). */
export interface ImagePart {
  readonly type: "image";
  readonly data: Uint8Array;
}

export type ContentPart = TextPart | ImagePart;

/** A call of a tool, as the model wrote it. `arguments` is JSON text, passed on verbatim, or a value. */
export interface ToolCall {
  readonly name: string;
  readonly arguments: string | Readonly<Record<string, unknown>>;
}

export interface SystemMessage {
  readonly role: "system";
  readonly content: string;
}

export interface UserMessage {
  readonly role: "user";
  readonly content: string | readonly ContentPart[];
}

export interface AssistantMessage {
  readonly role: "assistant";
  readonly content: string;
  /** What a Thinking model thought before `content`. Its own template decides whether it is shown again. */
  readonly reasoning?: string;
  readonly toolCalls?: readonly ToolCall[];
}

export interface ToolMessage {
  readonly role: "tool";
  readonly content: string | readonly ContentPart[];
}

export type ChatMessage = SystemMessage | UserMessage | AssistantMessage | ToolMessage;

/** How the next token is chosen. What is left out comes from the checkpoint's generation_config.json. */
export interface SamplingOptions {
  /** `0` means greedy: always the likeliest token. */
  readonly temperature?: number;
  /** Keep the smallest set of tokens whose probabilities reach this sum, 0 < topP <= 1. */
  readonly topP?: number;
  /** Keep the `topK` likeliest tokens (ties are kept); `0` keeps all. */
  readonly topK?: number;
  /** Drop tokens less likely than `minP` times the likeliest, 0 <= minP <= 1. */
  readonly minP?: number;
  /** Divide (multiply, if negative) the logit of every token already in prompt or answer; 1 is off. */
  readonly repetitionPenalty?: number;
  /** Subtracted once from the logit of every token already in the answer; 0 is off. */
  readonly presencePenalty?: number;
  /** Subtracted from the logit of a token once for every time it already is in the answer; 0 is off. */
  readonly frequencyPenalty?: number;
  /** Same seed, same request, same machine: same answer. Left out: a random one. */
  readonly seed?: number;
}

/** May, must or must not a tool be called; a name: that one. */
export type ToolChoice = "auto" | "none" | "required" | { readonly name: string };

/**
 * The form that an answer must have. Tokens that would leave it are never chosen, so the answer always has it; where
 * `maxTokens` comes near, the answer is ended in the shortest way.
 */
export type ResponseFormat =
  /** JSON that satisfies a schema; without one, any object or array. A keyword that cannot be kept is an error. */
  | { readonly type: "json"; readonly schema?: boolean | Readonly<Record<string, unknown>> }
  /** The whole answer is what the expression describes: ECMAScript's, with the `u` flag. */
  | { readonly type: "regex"; readonly pattern: string }
  /** One of these, letter by letter. */
  | { readonly type: "choice"; readonly options: readonly string[] };

export interface GenerateRequest extends SamplingOptions {
  readonly messages: readonly ChatMessage[];
  /** JSON-schema descriptions of tools, put into the prompt as the model's chat template does. */
  readonly tools?: readonly Readonly<Record<string, unknown>>[];
  /** @default "auto" */
  readonly toolChoice?: ToolChoice;
  /** May several tools be called in one answer? If not, it ends with its first call. @default true */
  readonly parallelToolCalls?: boolean;
  /** The form of the answer, behind any thought. The model may call a tool instead where it has some. */
  readonly responseFormat?: ResponseFormat;
  /** Most tokens to generate, reasoning included. @default 1024, for a Thinking model 2048 */
  readonly maxTokens?: number;
  /**
   * Tokens after which a thought is closed for the model, so that it answers; 0 lets it think not at all. A quarter of
   * the room (`maxTokens`, or what the context has left) is kept for the answer in any case. @default 1024
   */
  readonly maxReasoningTokens?: number;
  /** Generation ends in front of the first of these strings; it is not part of the answer. */
  readonly stop?: string | readonly string[];
  /**
   * The finish part says how likely each token of the answer was, and so many of the likeliest in its place: 0 to 20.
   * @default it says nothing of that
   */
  readonly topLogprobs?: number;
  /**
   * The last message is the assistant's, and is the beginning of the answer: the model goes on where it ends, and only what
   * follows comes back. A thought is over with it. @default false
   */
  readonly continueAnswer?: boolean;
  /** Aborting rejects with `signal.reason`, at any stage, within one step of the engine. */
  readonly signal?: AbortSignal;
  /**
   * Names the conversation, such as a group's number: chats take turns, so that one with many questions does not keep
   * the others waiting, and what was computed for a chat can be forgotten by this name. @default a chat of its own
   */
  readonly chat?: string;
  /** Requests of higher priority go first, from -100 to 100. @default 0 */
  readonly priority?: number;
  /** Told of its place in the queue whenever that changes: from 1 while it waits, 0 once it is its turn. */
  readonly onQueue?: (position: number) => void;
}

/** A request that will probably come, in the words in which it would be asked. */
export type WarmRequest = Pick<
  GenerateRequest,
  "messages" | "tools" | "maxTokens" | "chat" | "signal"
>;

/** What has to go. */
export interface ForgetRequest {
  /** Pictures: the bytes of the file, or their SHA-256 in hexadecimal. */
  readonly images?: readonly (Uint8Array | string)[];
  /** Everything that only this chat used. */
  readonly chat?: string;
}

/** What went. */
export interface ForgetResult {
  /** Of pictures and computed text that were kept. */
  readonly bytes: number;
}

/**
 * Why an answer ended: the model was done, it called tools, a stop string, `maxTokens`, the context was full, or the same words came
 * again and again.
 */
export type FinishReason =
  | "stop"
  | "tool-calls"
  | "stop-string"
  | "max-tokens"
  | "context-full"
  | "repetition";

export interface Usage {
  readonly promptTokens: number;
  /** Those of the prompt that stand for pictures. */
  readonly imageTokens: number;
  /** All generated tokens, reasoning included. */
  readonly completionTokens: number;
  readonly reasoningTokens: number;
  /** Oldest turns left out because the prompt was longer than the context. */
  readonly droppedTurns: number;
}

/** Where the time of one request went, in milliseconds. */
export interface Timings {
  readonly queueMs: number;
  /** Decoding and resizing pictures. */
  readonly imageMs: number;
  /** Vision encoder. */
  readonly visionMs: number;
  readonly prefillMs: number;
  readonly decodeMs: number;
  readonly totalMs: number;
}

export interface CacheUse {
  /** Pictures of this request whose processed pixels were there already. */
  readonly imageHits: number;
  readonly imageMisses: number;
  /** Pictures that needed no vision encoder: their features, or what the model made of them, were there already. */
  readonly visionHits?: number;
  readonly visionMisses?: number;
  /** Tokens of the prompt that were not computed again: some other request began with the same. */
  readonly promptTokens?: number;
}

/** One token, and how likely it was. */
export interface TokenScore {
  /** Its text; of a token that is none, its name in the chat format. */
  readonly text: string;
  /** Its bytes, which may be a part of a character; none for a token that is no text. */
  readonly bytes: Uint8Array;
  /** In nats, over the whole vocabulary, before temperature, penalties and forms; never above 0. */
  readonly logprob: number;
  /** It ends an answer. */
  readonly end: boolean;
}

/** A token that was chosen, and those that could have been. */
export interface ChosenToken extends TokenScore {
  /** The likeliest in its place, likeliest first. */
  readonly likeliest: readonly TokenScore[];
}

export interface FinishPart {
  readonly type: "finish";
  readonly finishReason: FinishReason;
  readonly usage: Usage;
  readonly timings: Timings;
  readonly cache: CacheUse;
  /** The answer is not whole: there was no room for even the shortest of the form, or it was cut off inside. */
  readonly incomplete?: boolean;
  /** The thought was closed for the model: it had used up its tokens, went in circles, or ended inside it. */
  readonly reasoningCut?: boolean;
  /**
   * With `repetition`: so many UTF-16 units at the end of the text are copies of what stands before them. They were
   * streamed before there was no doubt; whoever keeps the text cuts them off, as `generate` does.
   */
  readonly repeatedCharacters?: number;
  /**
   * With `topLogprobs`: every token of the answer that the model chose, one that ended it included; not those of a
   * thought. Not there where a server shows none.
   */
  readonly logprobs?: readonly ChosenToken[];
}

/** A call of a tool that the model wrote, whole; it is never part of the text. */
export interface ToolCallPart {
  readonly type: "tool-call";
  /** Of this answer; made up here. */
  readonly id: string;
  readonly name: string;
  /** JSON text of an object. */
  readonly arguments: string;
  /** `arguments` could be made into JSON by no means and is what the model wrote. */
  readonly invalid?: boolean;
}

/** Parts come in the order reasoning, text, one finish. Deltas never hold half a character. */
export type StreamPart =
  | { readonly type: "reasoning-delta"; readonly text: string }
  | { readonly type: "text-delta"; readonly text: string }
  | ToolCallPart
  | FinishPart;

export interface GenerateResult extends Omit<FinishPart, "type" | "repeatedCharacters"> {
  /** Where it repeated itself without end, one copy. */
  readonly text: string;
  /** Empty for a model that does not think aloud. */
  readonly reasoning: string;
  /** In the order in which the model wrote them. */
  readonly toolCalls: readonly ToolCallPart[];
}

/** Something that is decided about a conversation and its pictures, without a word being written. */
export type DecideQuestion =
  | {
      readonly type: "yes-no";
      readonly question: string;
      /** What yes is called. @default "是" */
      readonly yes?: string;
      /** What no is called. @default "否" */
      readonly no?: string;
    }
  | { readonly type: "choice"; readonly question: string; readonly options: readonly string[] }
  | {
      readonly type: "number";
      readonly question: string;
      /** An integer. */
      readonly min: number;
      /** An integer; at most 10 000 above `min`. */
      readonly max: number;
    }
  /** Where something is in the picture; `question` names it. */
  | { readonly type: "box"; readonly question: string };

/** What was decided. Every probability is from 0 to 1. */
export type Decision =
  | {
      readonly type: "yes-no";
      readonly yes: boolean;
      /** Of yes. */
      readonly probability: number;
    }
  | {
      readonly type: "choice";
      readonly option: string;
      /** Of that option. */
      readonly probability: number;
      /** Of each option, in their order. */
      readonly probabilities: readonly number[];
    }
  | {
      readonly type: "number";
      /** The likeliest. */
      readonly value: number;
      readonly probability: number;
      /** The mean over all numbers, each weighted by its probability. */
      readonly expected: number;
    }
  | {
      readonly type: "box";
      /** As shares of the picture's width and height. */
      readonly box: {
        readonly left: number;
        readonly top: number;
        readonly right: number;
        readonly bottom: number;
      };
      /** Of these four numbers among all that could stand there. */
      readonly probability: number;
    };

export interface DecideRequest<Q extends readonly DecideQuestion[] = readonly DecideQuestion[]>
  extends Pick<GenerateRequest, "messages" | "signal" | "chat" | "priority"> {
  /** Each is asked by itself, at the end of the last message of the user. */
  readonly questions: Q;
}

export interface DecideResult<Q extends readonly DecideQuestion[] = readonly DecideQuestion[]> {
  /** In the order of the questions. */
  readonly decisions: {
    readonly [K in keyof Q]: Extract<Decision, { readonly type: Q[K]["type"] }>;
  };
}

export interface ModelInfo {
  /** Name of the model, for people. */
  readonly name: string;
  /** `cpu`, `cuda:0`, `webgpu` …, or whatever a remote engine calls itself. */
  readonly device: string;
  /** Most tokens of prompt and answer together. */
  readonly contextTokens: number;
  readonly thinking: boolean;
  /** Most tokens one picture may become, where the engine says so. */
  readonly maxImageTokens?: number;
  /** Milliseconds in which a first word about a new picture of that size is expected on this machine, if measured. */
  readonly expectedFirstTokenMs?: number;
  /** What makes its answers worse than those of the published model, for people; left out when nothing is known to. */
  readonly warnings?: readonly string[];
  /** In which format keys and values are kept, where the engine says so. */
  readonly kvPrecision?: "fp32" | "fp16" | "int8";
}

/**
 * Can a model answer? `reloading`: its device was lost, and it is being loaded again; requests wait for that, or fail
 * with `device-lost` between two attempts.
 */
export type ModelHealth =
  | {
      readonly state: "ready";
      /** How often its device was lost since it was loaded first. */
      readonly losses: number;
    }
  | {
      readonly state: "reloading";
      readonly losses: number;
      /** What was lost, and why it is not back yet; for people. */
      readonly reason: string;
      /** Milliseconds to the next attempt; 0 while there is one. */
      readonly nextAttemptMs: number;
    }
  | { readonly state: "disposed" };

/** Something that sees pictures and answers. `stream` is the primitive; `generate` collects it. */
export interface VisionLanguageModel {
  readonly info: ModelInfo;
  readonly disposed: boolean;
  /** Engines that are never lost need not have it. */
  health?(): ModelHealth;
  stream(request: GenerateRequest): AsyncIterable<StreamPart>;
  generate(request: GenerateRequest): Promise<GenerateResult>;
  /**
   * Computes ahead of time what a request will need, and keeps it for when it comes. Real requests go first: this yields
   * to them at once, and goes on when nobody asks. Engines that keep nothing need not have it.
   */
  warm?(request: WarmRequest): Promise<void>;
  /**
   * Decides from the scores of the model instead of from words. Questions about one picture share its features and
   * everything in front of them. Engines that show no scores need not have it.
   */
  decide?<const Q extends readonly DecideQuestion[]>(
    request: DecideRequest<Q>,
  ): Promise<DecideResult<Q>>;
  /** Takes back what is kept of pictures or of a chat. Engines that keep nothing need not have it. */
  forget?(request: ForgetRequest): Promise<ForgetResult>;
  /** Ends running requests with a {@link DisposedError}, then frees everything. Calling it again is fine. */
  dispose(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}
