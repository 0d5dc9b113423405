// Bytes that claim to be a picture in, the same bytes or a typed refusal out. Also pictures that travel inside a message.

import { detectMediaType } from "../../vlm/index.ts";
import { ImageFetchError } from "../errors.ts";

/**
 * Lets pictures of every kind through, also kinds no model reads such as HEIC: the model half has the better answer.
 *
 * @throws {ImageFetchError} `not-an-image`: such as the JSON an expired link answers with.
 */
export function expectImage(data: Uint8Array, host?: string): Uint8Array {
  const type = detectMediaType(data);
  if (type?.startsWith("image/") && type !== "image/svg+xml") return data;
  throw new ImageFetchError(
    "not-an-image",
    `${data.byteLength} bytes${host === undefined ? "" : ` from ${host}`} are not those of a picture.`,
    { host },
  );
}

/**
 * The bytes of `base64://…` or `data:image/…;base64,…`; `undefined` if the text is neither.
 *
 * @throws {ImageFetchError} `too-large` before decoding, `not-an-image` after it.
 */
export function inlineImage(text: string, maxBytes: number): Uint8Array | undefined {
  const prefix = /^(?:base64:\/\/|data:[^,]{0,100};base64,)/iu.exec(text)?.[0];
  return prefix === undefined ? undefined : decodeBase64Image(text.slice(prefix.length), maxBytes);
}

/** @throws {ImageFetchError} `too-large` before decoding, `not-an-image` after it. */
export function decodeBase64Image(base64: string, maxBytes: number): Uint8Array {
  const bytes = Math.floor((base64.length * 3) / 4);
  // Padding and line breaks make `bytes` a little too large; a picture that close to the limit may be refused.
  if (bytes > maxBytes) throw tooLarge(maxBytes);
  return expectImage(Buffer.from(base64, "base64"));
}

export function tooLarge(maxBytes: number, host?: string): ImageFetchError {
  return new ImageFetchError("too-large", `A picture has more than ${maxBytes} bytes.`, {
    host,
    maxBytes,
  });
}
