// The conversations behind test/goldens/chat_template_goldens.json, in the words of the seam.

import { readFileSync } from "node:fs";
import type { ChatMessage, ImagePart } from "../../../src/vlm/vision-language-model.ts";

export const PICTURE: ImagePart = { type: "image", data: new Uint8Array() };

export interface GoldenChat {
  readonly messages: readonly ChatMessage[];
  readonly tools?: readonly Record<string, unknown>[];
  readonly addVisionIds?: boolean;
}

const twoImages: readonly ChatMessage[] = [
  { role: "system", content: "Be brief." },
  {
    role: "user",
    content: [
      { type: "text", text: "A: " },
      PICTURE,
      { type: "text", text: " B: " },
      PICTURE,
      { type: "text", text: "\nCompare." },
    ],
  },
  { role: "assistant", content: "Same." },
  { role: "user", content: "Why?" },
];

const parameters = { type: "object", properties: { q: { type: "string" } } };

/** By the name after the slash of the golden. */
export const GOLDEN_CHATS: Readonly<Record<string, GoldenChat>> = {
  one_image: {
    messages: [{ role: "user", content: [PICTURE, { type: "text", text: "Describe." }] }],
  },
  two_images_system: { messages: twoImages },
  two_images_vision_id: { messages: twoImages, addVisionIds: true },
  tools: {
    messages: [
      { role: "user", content: "hi" },
      { role: "assistant", content: "", toolCalls: [{ name: "get", arguments: { q: "é" } }] },
      { role: "tool", content: "42" },
      { role: "tool", content: "43" },
    ],
    tools: [{ type: "function", function: { name: "get", parameters } }],
  },
  think_history: {
    messages: [
      { role: "user", content: "q1" },
      { role: "assistant", content: "A1", reasoning: "T1" },
      { role: "user", content: "q2" },
    ],
  },
};

export function readGolden<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../../goldens/${name}`, import.meta.url), "utf8")) as T;
}
