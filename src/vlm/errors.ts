// Every error the model half throws on purpose. A message says what failed, with what, and what to do;
// facts are fields. No message holds chat text, base64 or secrets.

const VLM_ERROR = Symbol.for("napcat-vlm.VlmError");

export interface VlmErrorOptions {
  readonly cause?: unknown;
}

/** Base of all errors of `napcat-vlm/vlm`; `code` tells them apart. */
export abstract class VlmError extends Error {
  override readonly name: string = "VlmError";
  abstract readonly code: string;
  /** @internal Survives two installed copies of this package, where `instanceof` does not. */
  readonly [VLM_ERROR] = true;

  constructor(message: string, options: VlmErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
  }
}

/** Is this one of our errors, whichever copy of the package threw it? */
export function isVlmError(error: unknown): error is VlmError {
  return typeof error === "object" && error !== null && VLM_ERROR in error;
}

export type ModelLoadErrorCode =
  | "model-files-missing"
  | "model-unsupported"
  | "model-corrupt"
  | "device-unavailable"
  | "session-failed"
  | "memory-short"
  | "disk-full"
  | "files-held"
  | "not-writable";

/** The model could not be loaded or converted. */
export class ModelLoadError extends VlmError {
  override readonly name = "ModelLoadError";
  readonly code: ModelLoadErrorCode;
  readonly modelDir: string | undefined;
  /** File or tensor names that should be there and are not. */
  readonly missing: readonly string[];
  /** With `disk-full` and `memory-short`: how much had to fit, in bytes. */
  readonly neededBytes: number | undefined;
  /** With `disk-full` and `memory-short`: how much was free, in bytes, where the system tells. */
  readonly freeBytes: number | undefined;

  constructor(
    code: ModelLoadErrorCode,
    message: string,
    options: VlmErrorOptions & {
      readonly modelDir?: string;
      readonly missing?: readonly string[];
      readonly neededBytes?: number | undefined;
      readonly freeBytes?: number | undefined;
    } = {},
  ) {
    super(message, options);
    this.code = code;
    this.modelDir = options.modelDir;
    this.missing = options.missing ?? [];
    this.neededBytes = options.neededBytes;
    this.freeBytes = options.freeBytes;
  }
}

export type PullErrorCode =
  | "model-not-found"
  | "revision-not-found"
  | "access-denied"
  | "rate-limited"
  | "hub-unreachable"
  | "hub-answer"
  | "wrong-bytes"
  | "pull-running"
  | "not-pulled";

/** A model could not be fetched from a hub. What came so far is kept, and the next pull goes on from there. */
export class PullError extends VlmError {
  override readonly name = "PullError";
  readonly code: PullErrorCode;
  /** Host that was asked, without path and query. */
  readonly host: string | undefined;
  /** Its last HTTP status, where one came. */
  readonly status: number | undefined;
  /** The file that it is about, by its name in the model. */
  readonly file: string | undefined;

  constructor(
    code: PullErrorCode,
    message: string,
    options: VlmErrorOptions & {
      readonly host?: string | undefined;
      readonly status?: number | undefined;
      readonly file?: string | undefined;
    } = {},
  ) {
    super(message, options);
    this.code = code;
    this.host = options.host;
    this.status = options.status;
    this.file = options.file;
  }
}

export type ImageDecodeErrorCode = "image-unsupported" | "image-corrupt" | "image-too-large";

/** The bytes of a picture could not become pixels. */
export class ImageDecodeError extends VlmError {
  override readonly name = "ImageDecodeError";
  readonly code: ImageDecodeErrorCode;
  /** What the magic bytes say, such as `image/heic`; undefined when they say nothing. */
  readonly mediaType: string | undefined;
  readonly pixels: number | undefined;
  readonly maxPixels: number | undefined;
  /** Which picture of the request, counted from 0 over all messages; undefined outside a request. */
  readonly imageIndex: number | undefined;

  constructor(
    code: ImageDecodeErrorCode,
    message: string,
    options: VlmErrorOptions & {
      readonly mediaType?: string | undefined;
      readonly pixels?: number | undefined;
      readonly maxPixels?: number | undefined;
      readonly imageIndex?: number | undefined;
    } = {},
  ) {
    super(message, options);
    this.code = code;
    this.mediaType = options.mediaType;
    this.pixels = options.pixels;
    this.maxPixels = options.maxPixels;
    this.imageIndex = options.imageIndex;
  }

  /** The same error, saying which picture of a request it was. */
  at(imageIndex: number): ImageDecodeError {
    return new ImageDecodeError(this.code, this.message, {
      cause: this.cause,
      mediaType: this.mediaType,
      pixels: this.pixels,
      maxPixels: this.maxPixels,
      imageIndex,
    });
  }
}

/** Even the newest turn alone is longer than the context. */
export class PromptTooLongError extends VlmError {
  override readonly name = "PromptTooLongError";
  readonly code = "prompt-too-long";
  /** `NaN` where a server elsewhere does not say. */
  readonly promptTokens: number;
  /** `NaN` where a server elsewhere does not say. */
  readonly maxPromptTokens: number;

  constructor(promptTokens: number, maxPromptTokens: number) {
    super(
      `${Number.isNaN(promptTokens) ? "The prompt has too many tokens" : `The prompt has ${promptTokens} tokens and at most ${maxPromptTokens} fit`}. ` +
        "Send less text or fewer pictures, or load the model with a larger maxContextTokens.",
    );
    this.promptTokens = promptTokens;
    this.maxPromptTokens = maxPromptTokens;
  }
}

/** Too many requests are waiting already. */
export class QueueFullError extends VlmError {
  override readonly name = "QueueFullError";
  readonly code = "queue-full";
  readonly waiting: number;
  readonly limit: number;

  /** @param remedy what lets more of them in */
  constructor(waiting: number, limit: number, remedy = "raise maxQueue") {
    super(
      `${waiting} requests are waiting already and the limit is ${limit}. Try again later or ${remedy}.`,
    );
    this.waiting = waiting;
    this.limit = limit;
  }
}

/** The model was used after, or while, it was disposed. */
export class DisposedError extends VlmError {
  override readonly name = "DisposedError";
  readonly code = "disposed";

  constructor(what: string) {
    super(`${what} was disposed and cannot be used any more.`);
  }
}

export type DeviceErrorCode = "device-memory" | "device-lost";

/** A graphics card had no memory for something, or does not answer any more. */
export class DeviceError extends VlmError {
  override readonly name = "DeviceError";
  readonly code: DeviceErrorCode;

  constructor(code: DeviceErrorCode, message: string, options: VlmErrorOptions = {}) {
    super(message, options);
    this.code = code;
  }
}

export type InferenceStage = "vision" | "prefill" | "decode" | "sampling";

/** ONNX Runtime failed in the middle of a request. */
export class InferenceError extends VlmError {
  override readonly name = "InferenceError";
  readonly code = "inference-failed";
  readonly stage: InferenceStage;

  constructor(stage: InferenceStage, message: string, options: VlmErrorOptions = {}) {
    super(message, options);
    this.stage = stage;
  }
}

export type ResponseFormatErrorCode =
  | "response-format-unsupported"
  | "response-format-too-complex"
  | "response-format-missed";

/** The form in which an answer was wanted cannot be kept token by token, or was not kept. */
export class ResponseFormatError extends VlmError {
  override readonly name = "ResponseFormatError";
  readonly code: ResponseFormatErrorCode;
  /** Where in the schema; undefined outside of one. */
  readonly path: string | undefined;
  /** The keyword of a schema, or the construct of a regular expression, that cannot be kept. */
  readonly keyword: string | undefined;
  /** The strict tool whose schema it is; undefined where it is the form of the answer. */
  readonly tool: string | undefined;

  constructor(
    code: ResponseFormatErrorCode,
    message: string,
    options: VlmErrorOptions & {
      readonly path?: string | undefined;
      readonly keyword?: string | undefined;
      readonly tool?: string | undefined;
    } = {},
  ) {
    super(message, options);
    this.code = code;
    this.path = options.path;
    this.keyword = options.keyword;
    this.tool = options.tool;
  }
}

export type RemoteErrorCode =
  | "remote-unreachable"
  | "remote-unauthorized"
  | "remote-model-unknown"
  | "remote-busy"
  | "remote-timed-out"
  | "remote-refused"
  | "remote-filtered"
  | "remote-failed"
  | "remote-broken"
  | "remote-no-logprobs"
  | "remote-undecided";

/** A model elsewhere could not be asked, or did not answer as agreed. It holds no key and nothing of the request. */
export class RemoteError extends VlmError {
  override readonly name = "RemoteError";
  readonly code: RemoteErrorCode;
  /** Host and port of the server. */
  readonly host: string;
  /** Of HTTP; undefined where nothing came. */
  readonly status: number | undefined;
  /** With `remote-busy`: how long the server wants to be left alone, in milliseconds, where it says so. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: RemoteErrorCode,
    message: string,
    options: VlmErrorOptions & {
      readonly host: string;
      readonly status?: number | undefined;
      readonly retryAfterMs?: number | undefined;
    },
  ) {
    super(message, options);
    this.code = code;
    this.host = options.host;
    this.status = options.status;
    this.retryAfterMs = options.retryAfterMs;
  }
}
