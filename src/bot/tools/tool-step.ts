// One step of an answer. In: a request whose last messages may be results of tools. Out: its parts. A picture of a tool
// that cannot be decoded becomes a sentence; one of the question is the asker's affair.

import {
  type ChatMessage,
  type GenerateRequest,
  type ImageDecodeError,
  isVlmError,
  type StreamPart,
  type VisionLanguageModel,
} from "../../vlm/index.ts";

/** @param ownMessages how many messages stand in front of what tools made */
export async function* streamStep(
  model: VisionLanguageModel,
  request: GenerateRequest,
  ownMessages: number,
): AsyncGenerator<StreamPart> {
  const ownImages = countImages(request.messages.slice(0, ownMessages));
  for (let asked = request; ; ) {
    try {
      // Pictures are decoded before the first part comes.
      yield* model.stream(asked);
      return;
    } catch (error) {
      const index = undecodable(error);
      if (index < ownImages || index >= countImages(asked.messages)) throw error;
      asked = { ...asked, messages: withoutImage(asked.messages, index) };
    }
  }
}

function undecodable(error: unknown): number {
  if (!isVlmError(error) || error.name !== "ImageDecodeError") return -1;
  return (error as ImageDecodeError).imageIndex ?? -1;
}

function countImages(messages: readonly ChatMessage[]): number {
  const parts = messages.flatMap(({ content }) => (typeof content === "string" ? [] : content));
  return parts.filter(({ type }) => type === "image").length;
}

function withoutImage(messages: readonly ChatMessage[], index: number): readonly ChatMessage[] {
  let images = 0;
  return messages.map((message) => {
    if (typeof message.content === "string") return message;
    const content = message.content.map((part) =>
      part.type === "image" && images++ === index
        ? { type: "text" as const, text: "(a picture that cannot be read)" }
        : part,
    );
    return { ...message, content } as ChatMessage;
  });
}
