// A picture as the JSON of the debug adapter carries it.
// In: base64 or a data URI. Out: the bytes of the file. What kind of picture it is, the decoder finds out.

import { RequestError } from "./request-error.ts";

const DATA_URI = /^data:[^,]{0,200}?(;base64)?,/i;
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/**
 * Decodes the `data` of one picture.
 *
 * @param field Name of the field, for the error message.
 * @throws {RequestError} 400 when it is not base64, 413 when it is longer than `maxBytes`.
 */
export function decodePicture(data: string, field: string, maxBytes: number): Uint8Array {
  const base64 = withoutWhitespace(withoutDataUri(data, field));
  if (base64 === "") {
    throw new RequestError(400, "bad-field", `\`${field}\` is empty.`);
  }
  const digits = base64.length - (base64.endsWith("==") ? 2 : base64.endsWith("=") ? 1 : 0);
  const padded = digits !== base64.length;
  if (!BASE64.test(base64) || digits % 4 === 1 || (padded && base64.length % 4 !== 0)) {
    throw new RequestError(400, "bad-base64", `\`${field}\` is not valid base64.`);
  }
  const bytes = Math.floor((digits * 3) / 4);
  if (bytes > maxBytes) {
    throw new RequestError(
      413,
      "picture-too-large",
      `\`${field}\` has ${bytes} bytes and at most ${maxBytes} are taken.`,
    );
  }
  return Buffer.from(base64, "base64");
}

function withoutDataUri(data: string, field: string): string {
  if (!/^data:/i.test(data)) return data;
  const head = DATA_URI.exec(data);
  if (!head?.[1]) {
    throw new RequestError(
      400,
      "bad-base64",
      `\`${field}\` is a data URI that is not base64. Expected \`data:image/…;base64,…\`.`,
    );
  }
  return data.slice(head[0].length);
}

/** Base64 tools like to break lines; that is no mistake. */
function withoutWhitespace(text: string): string {
  return /\s/.test(text) ? text.replace(/\s+/g, "") : text;
}
