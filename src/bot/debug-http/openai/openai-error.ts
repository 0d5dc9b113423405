// Errors as clients of OpenAI's interface know them. In: a refusal of the debug adapter. Out: status and body that they read.

import type { ErrorStatus, RequestError } from "../request-error.ts";

/** Codes and words that clients act on: one drops its oldest messages, another leaves pictures out. */
const CODES: Readonly<Record<string, string>> = {
  "prompt-too-long": "context_length_exceeded",
  "image-corrupt": "invalid_attachment",
  "image-unsupported": "invalid_attachment",
  "image-too-large": "invalid_attachment",
  "too-many-requests": "rate_limit_exceeded",
  "remote-filtered": "content_filter",
  unauthorized: "invalid_api_key",
};

/** Where that interface has another status for the same. */
const STATUSES: Readonly<Record<string, ErrorStatus>> = {
  "prompt-too-long": 400,
  "too-many-requests": 429,
};

export function toOpenAiError({ status: own, code, message, field }: RequestError): {
  readonly status: ErrorStatus;
  readonly body: object;
} {
  const status = STATUSES[code] ?? own;
  const words =
    code === "prompt-too-long"
      ? `This is longer than the model's context length. ${message}`
      : message;
  const error = {
    message: words,
    type: typeOf(status),
    param: field ?? null,
    code: CODES[code] ?? code,
  };
  return { status, body: { error } };
}

function typeOf(status: ErrorStatus): string {
  if (status === 401) return "authentication_error";
  if (status === 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}
