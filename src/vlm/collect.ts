// Stream in, one result out: what `generate` is for every model that can `stream`.

import type { GenerateResult, StreamPart } from "./vision-language-model.ts";

/**
 * Collects a stream into one result.
 *
 * @throws {Error} whatever the stream throws, and an error if it ends without its `finish` part.
 */
export async function collectStream(stream: AsyncIterable<StreamPart>): Promise<GenerateResult> {
  let text = "";
  let reasoning = "";
  for await (const part of stream) {
    switch (part.type) {
      case "text-delta":
        text += part.text;
        break;
      case "reasoning-delta":
        reasoning += part.text;
        break;
      case "finish": {
        const { type: _, repeatedCharacters = 0, ...result } = part;
        return { text: text.slice(0, text.length - repeatedCharacters), reasoning, ...result };
      }
      default:
        part satisfies never;
    }
  }
  throw new Error("The stream of a vision-language model ended without its finish part.");
}
