// Writes the answer to a question. In: a turn, and where its past is. Out: what the model answered, and the question as
// it could be asked in the end. It remembers nothing, but that a picture of the past is none.

import { eachUntilAborted } from "../../abort.ts";
import {
  type ChatMessage,
  type FinishPart,
  type ImageDecodeError,
  isVlmError,
} from "../../vlm/index.ts";
import { streamWithTools } from "../tools/tool-loop.ts";
import { Toolbox, type ToolCaller } from "../tools/toolbox.ts";
import type { SeenNames } from "./answer-start.ts";
import { AnswerText, type Reply } from "./answer-text.ts";
import { promptParts, replaceImage, shownNames, toMessages } from "./conversation.ts";
import type { Conversations } from "./conversations.ts";
import type { RespondOptions } from "./respond-options.ts";
import type { ResolvedResponderOptions } from "./responder-options.ts";
import { showPictures, textOf } from "./shown-pictures.ts";
import type { Turn, TurnPart } from "./turn.ts";

/** Where the past of a question is, and as whom it is answered. */
export interface Place {
  readonly key: string;
  /** `""` for none. */
  readonly systemPrompt: string;
}

/** An answer, and the question it is one to: pictures that are none are notes by now. */
export interface Written {
  readonly question: readonly TurnPart[];
  readonly reply: Reply;
}

export class AnswerWriter {
  readonly #options: ResolvedResponderOptions;
  readonly #conversations: Conversations;
  readonly #toolbox: Toolbox;

  constructor(options: ResolvedResponderOptions, conversations: Conversations) {
    this.#options = options;
    this.#conversations = conversations;
    this.#toolbox = new Toolbox(options.tools, options.toolLimits);
  }

  /** Asks the model, and asks again without a picture whenever one turns out not to be a picture. */
  async write(turn: Turn, { key, systemPrompt }: Place, options: RespondOptions): Promise<Written> {
    const { phrases } = this.#options;
    const { chat, sender } = turn;
    const caller = { chat, sender, rank: options.rank ?? "everybody" } as const;
    let question = promptParts(turn, phrases);
    for (;;) {
      const past = this.#conversations.past(key);
      const speakers = [...past.flatMap(({ names = [] }) => names), ...shownNames(turn, phrases)];
      const shown = showPictures(past, question, phrases, textOf(turn.parts));
      try {
        const messages = toMessages(systemPrompt, shown.past, shown.question);
        return { question, reply: await this.#generate(key, messages, speakers, caller, options) };
      } catch (error) {
        const bad = badImage(error, shown.origins.length);
        if (bad === undefined) throw error;
        options.onBadPicture?.(bad);
        const note = (number: number) => phrases.imageMissing(number, this.#reason(bad));
        const { from, index } = shown.origins[bad.imageIndex]!;
        if (from === "past") this.#conversations.replaceImage(key, index, note);
        else question = replaceImage(question, index, note);
      }
    }
  }

  async #generate(
    key: string,
    messages: readonly ChatMessage[],
    speakers: SeenNames["speakers"],
    caller: ToolCaller,
    { signal, onPart, ownNames, priority, onToolNote, onTool }: RespondOptions,
  ): Promise<Reply> {
    const { model, maxTokens, maxReasoningTokens, sampling } = this.#options;
    const request = {
      ...sampling,
      ...(maxTokens === undefined ? {} : { maxTokens }),
      ...(maxReasoningTokens === undefined ? {} : { maxReasoningTokens }),
      ...(signal === undefined ? {} : { signal }),
      ...(priority === undefined ? {} : { priority }),
      chat: key,
      messages,
    };
    const stream = streamWithTools(request, {
      model,
      toolbox: this.#toolbox,
      caller,
      onNote: onToolNote,
      onTool,
    });
    const answer = new AnswerText({ speakers, own: ownNames });
    // A model that ignores its signal must not block the chat for ever.
    for await (const part of eachUntilAborted(stream, signal)) {
      if (part.type === "finish") return finish(answer, onPart, part);
      // A model that notices by itself ends here; any other one is left.
      if (answer.repeats) return finish(answer, onPart);
      // What was called for was done, or could not be offered: nothing of it is shown.
      if (part.type === "tool-call") continue;
      for (const shown of await answer.push(part)) onPart?.(shown);
    }
    throw new Error("The stream of the model ended without its finish part.");
  }

  #reason({ code }: ImageDecodeError): string {
    const { unsupported, corrupt, "too-large": tooLarge } = this.#options.phrases.imageReasons;
    if (code === "image-unsupported") return unsupported;
    return code === "image-too-large" ? tooLarge : corrupt;
  }
}

async function finish(
  answer: AnswerText,
  onPart: RespondOptions["onPart"],
  part?: FinishPart,
): Promise<Reply> {
  const { shown, reply } = await answer.finish(part);
  for (const piece of shown) onPart?.(piece);
  return reply;
}

/** The error, if it says which of the `images` pictures of the request could not be decoded. */
function badImage(error: unknown, images: number) {
  if (!isVlmError(error) || error.name !== "ImageDecodeError") return undefined;
  const decodeError = error as ImageDecodeError;
  const { imageIndex = -1 } = decodeError;
  // An index that names no picture would repair nothing, and the question would be asked for ever.
  if (!Number.isInteger(imageIndex) || imageIndex < 0 || imageIndex >= images) return undefined;
  return decodeError as ImageDecodeError & { readonly imageIndex: number };
}
