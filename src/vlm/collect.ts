// Stream in, one result out: what `generate` is for every model that can `stream`.

import type { GenerateResult, StreamPart, ToolCallPart } from "./vision-language-model.ts";

/**
 * Collects a stream into one result.
 *
 * @throws {Error} whatever the stream throws, and an error if it ends without its `finish` part.
 */
export async function collectStream(stream: AsyncIterable<StreamPart>): Promise<GenerateResult> {
  let text = "";
  let reasoning = "";
  const toolCalls: ToolCallPart[] = [];
  for await (const part of stream) {
    switch (part.type) {
      case "text-delta":
        text += part.text;
        break;
      case "reasoning-delta":
        reasoning += part.text;
        break;
      case "tool-call":
        toolCalls.push(part);
        break;
      case "finish": {
        const { type: _, repeatedCharacters = 0, ...result } = part;
        const shown = text.slice(0, text.length - repeatedCharacters);
        return { text: shown, reasoning, toolCalls, ...result };
      }
      default:
        part satisfies never;
    }
  }
  throw new Error("The stream of a vision-language model ended without its finish part.");
}
