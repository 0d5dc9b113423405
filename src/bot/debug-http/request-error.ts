// What the debug adapter answers when something is wrong.
// In: any error. Out: a status, a code and one sentence; never a stack, never what somebody wrote.

import { isVlmError, RemoteError, ResponseFormatError, type VlmError } from "../../vlm/index.ts";

/** The statuses the debug adapter answers with when it cannot answer. */
export type ErrorStatus = 400 | 401 | 403 | 404 | 405 | 408 | 413 | 429 | 500 | 502 | 503 | 504;

/** A request that is refused, and why. The message goes to the client as it is. */
export class RequestError extends Error {
  override readonly name = "RequestError";
  readonly status: ErrorStatus;
  readonly code: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Name of the field that is wrong, where it is one. */
  readonly field: string | undefined;

  constructor(
    status: ErrorStatus,
    code: string,
    message: string,
    headers: Readonly<Record<string, string>> = {},
    options: ErrorOptions & { readonly field?: string } = {},
  ) {
    super(message, options);
    this.status = status;
    this.code = code;
    this.headers = headers;
    this.field = options.field;
  }
}

/** The body of every answer that is not a success. */
export interface ErrorBody {
  readonly status: "error";
  readonly error: { readonly code: string; readonly message: string };
}

export function toErrorBody(error: RequestError): ErrorBody {
  return { status: "error", error: { code: error.code, message: error.message } };
}

/**
 * Any error as one a client may see. What nobody expected becomes "internal", without its message; one that its client
 * did not cause (500, 502, 504) keeps the error as its `cause`, for the log.
 */
export function toRequestError(error: unknown): RequestError {
  if (error instanceof RequestError) return error;
  if (isVlmError(error)) return fromVlmError(error);
  const message = "The request failed. The log of the bot says where.";
  return new RequestError(500, "internal", message, {}, { cause: error });
}

function fromVlmError(error: VlmError): RequestError {
  switch (error.code) {
    case "prompt-too-long":
      return new RequestError(413, error.code, error.message);
    case "image-corrupt":
    case "image-unsupported":
    case "image-too-large":
      return new RequestError(400, error.code, error.message);
    case "response-format-unsupported":
    case "response-format-too-complex": {
      const ofTool = error instanceof ResponseFormatError && error.tool !== undefined;
      const where = ofTool ? { field: "tools" } : {};
      return new RequestError(400, error.code, error.message, {}, where);
    }
    case "queue-full":
      return new RequestError(503, error.code, error.message, { "Retry-After": "5" });
    case "device-lost":
      return new RequestError(503, error.code, error.message, { "Retry-After": "5" });
    case "disposed":
      return new RequestError(503, error.code, error.message);
    case "remote-filtered":
      return new RequestError(400, error.code, error.message);
    case "remote-busy": {
      const seconds = error instanceof RemoteError ? (error.retryAfterMs ?? 5000) / 1000 : 5;
      const headers = { "Retry-After": String(Math.ceil(seconds)) };
      return new RequestError(503, error.code, error.message, headers);
    }
    case "remote-timed-out":
      return new RequestError(504, error.code, error.message, {}, { cause: error });
    case "remote-unreachable":
    case "remote-failed":
    case "remote-broken":
      return new RequestError(502, error.code, error.message, {}, { cause: error });
    default:
      return new RequestError(500, error.code, error.message, {}, { cause: error });
  }
}
