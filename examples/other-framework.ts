// Eyes for a bot of another framework: only `napcat-vlm/vlm`, no NapCat.
import { type ChatMessage, isVlmError, type VisionLanguageModel } from "napcat-vlm/vlm";

/** What this example needs of a message; Koishi, grammY, discord.js and others have the like. */
export interface Message {
  readonly chatId: string;
  readonly text: string;
  readonly images: readonly Uint8Array[];
  reply(text: string): Promise<unknown>;
}

/** A message handler that answers with the model and remembers the last turns of every chat. */
export function createVision(model: VisionLanguageModel, maxTurns = 6) {
  const histories = new Map<string, ChatMessage[]>();

  return async function answer(message: Message): Promise<void> {
    const history = histories.get(message.chatId) ?? [];
    const question: ChatMessage = {
      role: "user",
      content: [
        ...message.images.map((data) => ({ type: "image" as const, data })),
        { type: "text", text: message.text },
      ],
    };
    try {
      const { text } = await model.generate({ messages: [...history, question], maxTokens: 300 });
      const turns = [...history, question, { role: "assistant" as const, content: text }];
      histories.set(message.chatId, turns.slice(-2 * maxTurns));
      await message.reply(text);
    } catch (error) {
      const unreadable = isVlmError(error) && error.name === "ImageDecodeError";
      await message.reply(unreadable ? "这张图我看不了。" : "出错了，稍后再试。");
    }
  };
}
