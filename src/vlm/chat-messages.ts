// The messages of a request, checked at the door so that nothing behind it meets a surprise.
// It says what a message is made of; the words of an error are those of every option.

import {
  either,
  kindsOf,
  list,
  literal,
  matching,
  nonEmptyText,
  openObject,
  text,
} from "../parse-options.ts";

const PARTS = list(
  kindsOf(
    "type",
    [
      openObject({ type: literal("text"), text: text() }, "a part"),
      openObject(
        {
          type: literal("image"),
          data: matching<Uint8Array>("a Uint8Array", (value) => value instanceof Uint8Array),
        },
        "a part",
      ),
    ],
    ["text", "image"],
    "a part",
  ),
  "an array of parts",
);

const TEXT_OR_PARTS = either([text(), PARTS], "a string or an array of parts");

const TOOL_CALL = openObject(
  {
    name: nonEmptyText(),
    arguments: either([text(), openObject({}, "an object")], "a string or an object"),
  },
  "a call of a tool",
);

const MESSAGE = kindsOf(
  "role",
  [
    openObject({ role: literal("system"), content: text() }, "a message"),
    openObject({ role: literal("user"), content: TEXT_OR_PARTS }, "a message"),
    openObject(
      {
        role: literal("assistant"),
        content: text(),
        reasoning: text().optional(),
        toolCalls: list(TOOL_CALL, "an array").optional(),
      },
      "a message",
    ),
    openObject({ role: literal("tool"), content: TEXT_OR_PARTS }, "a message"),
  ],
  ["system", "user", "assistant", "tool"],
  "a message",
);

const AT_LEAST_ONE = "an array of at least one message";

const MESSAGES = list(MESSAGE, AT_LEAST_ONE).min(1, { error: AT_LEAST_ONE, abort: true });

/** At least one message; the last one is a user's or a tool's, because somebody has to be answered. */
export const MESSAGES_SCHEMA = MESSAGES.refine(
  (messages) => ["user", "tool"].includes(messages.at(-1)?.role ?? ""),
  { error: "an array that ends with a user or tool message" },
);

/** The last message is the beginning of the answer. */
export const BEGUN_MESSAGES_SCHEMA = MESSAGES.refine(
  (messages) => {
    const last = messages.at(-1);
    return last?.role === "assistant" && (last.toolCalls ?? []).length === 0;
  },
  { error: "an array that ends with an assistant message without calls" },
);
