// A picture as the JSON of the debug adapter carries it.
// In: base64 or a data URI. Out: the bytes of the file. What kind of picture it is, the decoder finds out.

import { RequestError } from "./request-error.ts";

const DATA_URI = /^data:[^,]{0,200}?(;base64)?,/i;
/** Of addresses and file names too, which have two other signs. */
const BASE64 = /^[A-Za-z0-9+/_-]*={0,2}$/;

/**
 * Decodes the `data` of one picture.
 *
 * @param field Name of the field, for the error message.
 * @throws {RequestError} 400 when it is not base64, 413 when it is longer than `maxBytes`.
 */
export function decodePicture(data: string, field: string, maxBytes: number): Uint8Array {
  const base64 = withoutWhitespace(withoutDataUri(data, field));
  if (base64 === "") {
    throw new RequestError(400, "bad-field", `\`${field}\` is empty.`, {}, { field });
  }
  const digits = base64.length - (base64.endsWith("==") ? 2 : base64.endsWith("=") ? 1 : 0);
  const padded = digits !== base64.length;
  if (!BASE64.test(base64) || digits % 4 === 1 || (padded && base64.length % 4 !== 0)) {
    const message = `\`${field}\` is not valid base64.`;
    throw new RequestError(400, "bad-base64", message, {}, { field });
  }
  const bytes = Math.floor((digits * 3) / 4);
  if (bytes > maxBytes) {
    throw new RequestError(
      413,
      "picture-too-large",
      `\`${field}\` has ${bytes} bytes and at most ${maxBytes} are taken.`,
      {},
      { field },
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
      {},
      { field },
    );
  }
  return unescaped(data.slice(head[0].length));
}

/** Whoever takes it for an address writes `%2B` for a plus. */
function unescaped(base64: string): string {
  return base64.replace(/%([0-9a-f]{2})/giu, (_, hex) => String.fromCharCode(Number(`0x${hex}`)));
}

/** Base64 tools like to break lines; that is no mistake. */
function withoutWhitespace(text: string): string {
  return /\s/.test(text) ? text.replace(/\s+/g, "") : text;
}
