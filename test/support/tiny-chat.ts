// The tiny chat model, loaded for tests by the real loader. Converted once per suite (see global-setup.ts), in fp32.

import { fileURLToPath } from "node:url";
import { inject } from "vitest";
import type { LoadOptions } from "../../src/vlm/options.ts";
import { loadQwen3Vl, type Qwen3VlModel } from "../../src/vlm/qwen3-vl.ts";
import type { ContentPart } from "../../src/vlm/vision-language-model.ts";

export const TINY_CHAT_DIR = fileURLToPath(new URL("../../examples/tiny-chat", import.meta.url));

/** The tiny chat model as a converted package. */
export function tinyChatPackage(): string {
  return inject("tinyChatPackage");
}

export function loadTinyChat(options: Partial<LoadOptions> = {}): Promise<Qwen3VlModel> {
  return loadQwen3Vl({ model: tinyChatPackage(), ...options });
}

/** One user message of texts and pictures, in this order. */
export function userMessage(...parts: readonly (string | Uint8Array)[]) {
  const content = parts.map(
    (part): ContentPart =>
      typeof part === "string" ? { type: "text", text: part } : { type: "image", data: part },
  );
  return { role: "user" as const, content };
}
