// The JSON a client posts, checked. In: a parsed body. Out: a turn for the responder, or an error naming the field.
// The format is a contract with clients that exist already: field names stay as they are.

import { z } from "zod";
import type { ChatId } from "../chat/chat-id.ts";
import type { Turn, TurnPart } from "../chat/turn.ts";
import type { DebugServerLimits } from "./limits.ts";
import { decodePicture } from "./picture-data.ts";
import { RequestError } from "./request-error.ts";

/** OneBot writes ids as numbers, people in strings; both are taken. */
const id = z
  .union(
    [
      z
        .string()
        .trim()
        .regex(/^[^\p{Cc}\p{Cs}]{1,64}$/u),
      z.int().nonnegative(),
    ],
    {
      error: "expected a string of 1 to 64 characters or a whole number",
    },
  )
  .transform(String);
const name = z.string().max(256).nullish();

const picture = z.object({
  data: z.string(),
  // A hint and no more: the bytes decide.
  format: z.enum(["jpeg", "jpg", "png", "gif", "webp"]).nullish(),
});

const common = {
  user_id: id,
  user_nickname: name,
  content: z.string(),
  images: z.array(picture).nullish(),
  timestamp: z.number().nullish(),
};

const groupMessage = z.object({
  type: z.literal("group").optional(),
  group_id: id,
  group_name: name,
  user_card: name,
  // Was it said to the bot? Left out: yes.
  addressed: z.boolean().nullish(),
  ...common,
});

const privateMessage = z.object({ type: z.literal("private").optional(), ...common });

const resetRequest = z.discriminatedUnion("type", [
  z.object({ type: z.literal("group"), group_id: id }),
  z.object({ type: z.literal("private"), user_id: id }),
]);

/** A posted message. */
export interface ChatRequest {
  readonly turn: Turn;
  /** It was said to the bot; where it was not, the triggers of its group decide. */
  readonly addressed: boolean;
}

/**
 * A posted message as a turn; `undefined` when there is nothing in it to answer.
 *
 * @throws {RequestError} 400 naming the field that is wrong, 413 for what is too large.
 */
export function parseChatRequest(
  kind: ChatId["kind"],
  body: unknown,
  limits: DebugServerLimits,
): ChatRequest | undefined {
  const message = parseMessage(kind, body);
  if (message.content.length > limits.maxTextLength) {
    throw new RequestError(
      413,
      "text-too-long",
      `\`content\` has ${message.content.length} characters and at most ${limits.maxTextLength} are taken.`,
    );
  }
  const images = message.images ?? [];
  if (images.length > limits.maxPictures) {
    throw new RequestError(
      413,
      "too-many-pictures",
      `\`images\` has ${images.length} pictures and at most ${limits.maxPictures} are taken.`,
    );
  }
  // Pictures first, as in a QQ message that asks about them and as the model was trained.
  const parts: TurnPart[] = images.map(({ data }, index) => ({
    type: "image",
    data: decodePicture(data, `images[${index}].data`, limits.maxPictureBytes),
  }));
  if (message.content.trim() !== "") parts.push({ type: "text", text: message.content });
  if (parts.length === 0) return undefined;
  const turn = { chat: message.chat, sender: message.sender, parts };
  return { turn, addressed: message.addressed };
}

/** @throws {RequestError} 400 naming the field that is wrong. */
export function parseResetRequest(body: unknown): ChatId {
  const request = parse(resetRequest, body);
  return request.type === "group"
    ? { kind: "group", id: request.group_id }
    : { kind: "private", id: request.user_id };
}

function parseMessage(kind: ChatId["kind"], body: unknown) {
  if (kind === "private") {
    const message = parse(privateMessage, body);
    const { user_id, user_nickname } = message;
    return {
      ...message,
      addressed: true,
      chat: { kind, id: user_id },
      sender: { id: user_id, name: user_nickname || user_id },
    };
  }
  const message = parse(groupMessage, body);
  const { group_id, user_id, user_card, user_nickname } = message;
  return {
    ...message,
    addressed: message.addressed ?? true,
    chat: { kind, id: group_id },
    sender: { id: user_id, name: user_card || user_nickname || user_id },
  };
}

function parse<T>(schema: z.ZodType<T>, body: unknown): T {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const problems = result.error.issues.map(
    (issue) => `\`${fieldName(issue.path)}\`: ${issue.message}`,
  );
  throw new RequestError(400, "bad-field", `${problems.join("; ")}.`);
}

/** `images[0].data`, as people write it. */
function fieldName(path: readonly PropertyKey[]): string {
  const [first, ...rest] = path;
  if (first === undefined) return "body";
  return rest.reduce<string>(
    (text, key) => (typeof key === "number" ? `${text}[${key}]` : `${text}.${String(key)}`),
    String(first),
  );
}
