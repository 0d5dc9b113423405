// Errors as clients of OpenAI's interface know them. In: a refusal of the debug adapter. Out: the body they read.

import type { RequestError } from "../request-error.ts";

/** Codes and words that clients act on: one drops its oldest messages, another leaves pictures out. */
const CODES: Readonly<Record<string, string>> = {
  "prompt-too-long": "context_length_exceeded",
  "image-corrupt": "invalid_attachment",
  "image-unsupported": "invalid_attachment",
  "image-too-large": "invalid_attachment",
  unauthorized: "invalid_api_key",
};

export function toOpenAiError({ status, code, message }: RequestError): object {
  const type =
    status === 401
      ? "authentication_error"
      : status >= 500
        ? "server_error"
        : "invalid_request_error";
  const words =
    code === "prompt-too-long"
      ? `This is longer than the model's context length. ${message}`
      : message;
  return { error: { message: words, type, param: null, code: CODES[code] ?? code } };
}
