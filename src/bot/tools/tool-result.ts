// What a tool returned in, what the model reads out: text of bounded length, and pictures that are pictures.

import { type ContentPart, detectMediaType } from "../../vlm/index.ts";

/** @param output whatever the tool returned */
export function toolContent(output: unknown, maxCharacters: number): readonly ContentPart[] {
  let room = maxCharacters;
  return partsOf(output).map((part): ContentPart => {
    if (part.type === "image") return readablePart(part);
    const text = part.text.slice(0, room);
    room -= text.length;
    return { type: "text", text: text.length < part.text.length ? `${text}…` : text };
  });
}

/** An error as data: the model can tell people, or try something else. */
export function toolError(message: string): readonly ContentPart[] {
  return [{ type: "text", text: JSON.stringify({ error: message }) }];
}

function partsOf(output: unknown): readonly ContentPart[] {
  if (output instanceof Uint8Array) return [{ type: "image", data: output }];
  if (isContent(output)) return output;
  return [{ type: "text", text: typeof output === "string" ? output : jsonOf(output) }];
}

function isContent(output: unknown): output is readonly ContentPart[] {
  return Array.isArray(output) && output.length > 0 && output.every(isPart);
}

function isPart(value: unknown): value is ContentPart {
  if (typeof value !== "object" || value === null) return false;
  const { type, text, data } = value as { type?: unknown; text?: unknown; data?: unknown };
  return type === "text"
    ? typeof text === "string"
    : type === "image" && data instanceof Uint8Array;
}

/** A file that is no picture would cost the whole answer. */
function readablePart(part: Extract<ContentPart, { type: "image" }>): ContentPart {
  const kind = detectMediaType(part.data);
  const readable =
    kind?.startsWith("image/") && !/heic|heif|jxl|jp2|tiff|svg|adobe|icon/u.test(kind);
  return readable ? part : { type: "text", text: "(a picture that cannot be read)" };
}

function jsonOf(output: unknown): string {
  try {
    // What JSON does not know, such as a function, says nothing.
    return JSON.stringify(output) ?? "null";
  } catch {
    return String(output);
  }
}
