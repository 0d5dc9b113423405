import { describe, expect, it } from "vitest";
import { formatChat, renderChat } from "../../../src/vlm/text/chat-format.ts";
import type { AssistantMessage, ChatMessage } from "../../../src/vlm/vision-language-model.ts";
import { GOLDEN_CHATS, PICTURE, readGolden } from "./golden-chats.ts";

const goldens = readGolden<Record<string, string>>("chat_template_goldens.json");

const render = (messages: readonly ChatMessage[], thinking: boolean): string =>
  renderChat(formatChat(messages, { thinking }));

describe("formatChat", () => {
  it.each(Object.keys(goldens))("equals the reference's template byte for byte: %s", (name) => {
    const [kind, chat] = name.split("/") as [string, string];
    const { messages, ...options } = GOLDEN_CHATS[chat]!;
    const formatted = formatChat(messages, { ...options, thinking: kind === "thinking" });
    expect(renderChat(formatted)).toBe(goldens[name]);
  });

  // What follows was compared once with the vendor's two templates, rendered by Jinja2 3.1.6.

  it("adds no system prompt of its own", () => {
    for (const thinking of [false, true]) {
      expect(formatChat([{ role: "user", content: "a" }], { thinking }).preamble).toEqual([]);
    }
  });

  it("shows a later system message to Thinking and ignores it for Instruct", () => {
    const messages: ChatMessage[] = [
      { role: "user", content: "a" },
      { role: "system", content: "s" },
    ];
    expect(render(messages, false)).toBe("<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n");
    expect(render(messages, true)).toBe(
      "<|im_start|>user\na<|im_end|>\n<|im_start|>system\ns<|im_end|>\n<|im_start|>assistant\n<think>\n",
    );
  });

  it("puts the system prompt in front of the tools, in one block", () => {
    const messages: ChatMessage[] = [
      { role: "system", content: "s" },
      { role: "user", content: "a" },
    ];
    const text = renderChat(formatChat(messages, { thinking: false, tools: [{ n: "é" }] }));
    expect(text).toMatch(/^<\|im_start\|>system\ns\n\n# Tools\n\n/);
    expect(text).toContain('<tools>\n{"n": "é"}\n</tools>');
    expect(text.match(/<\|im_start\|>system/g)).toHaveLength(1);
  });

  it("treats an empty list of tools as none", () => {
    const options = { thinking: false, tools: [] };
    expect(formatChat([{ role: "user", content: "a" }], options).preamble).toEqual([]);
  });

  it("puts pictures into results of tools and numbers them over the whole conversation", () => {
    const messages: ChatMessage[] = [
      { role: "user", content: [PICTURE] },
      { role: "tool", content: [{ type: "text", text: "x" }, PICTURE] },
      { role: "tool", content: [PICTURE] },
    ];
    const chat = formatChat(messages, { thinking: false, addVisionIds: true });
    const picture = "<|vision_start|><|image_pad|><|vision_end|>";
    expect(renderChat(chat)).toBe(
      `<|im_start|>user\nPicture 1: ${picture}<|im_end|>\n` +
        `<|im_start|>user\n<tool_response>\nxPicture 2: ${picture}\n</tool_response>` +
        `\n<tool_response>\nPicture 3: ${picture}\n</tool_response><|im_end|>\n` +
        "<|im_start|>assistant\n",
    );
  });

  it("numbers pictures anew when it begins later, but keeps their index in the request", () => {
    const messages: ChatMessage[] = [
      { role: "user", content: [PICTURE, PICTURE] },
      { role: "user", content: [PICTURE] },
    ];
    const chat = formatChat(messages, { thinking: false, addVisionIds: true, firstMessage: 1 });
    expect(chat.messages[0]).toEqual([]);
    expect(chat.messages[1]).toContainEqual({ imageIndex: 2 });
    expect(chat.messages[1]).toContain("Picture 1: ");
  });

  it("separates tool calls from content and from each other by one line break", () => {
    const call = { name: "f", arguments: "{}" };
    const answer = (content: string): string =>
      render(
        [{ role: "assistant", content, toolCalls: [call, { ...call, arguments: {} }] }],
        false,
      );
    const rendered = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>';
    expect(answer("")).toContain(`assistant\n${rendered}\n${rendered}<|im_end|>`);
    expect(answer("x")).toContain(`assistant\nx\n${rendered}\n${rendered}<|im_end|>`);
  });

  describe("for Thinking", () => {
    const calling = (reasoning: string): AssistantMessage => ({
      role: "assistant",
      content: "",
      reasoning,
      toolCalls: [{ name: "f", arguments: "{}" }],
    });

    it("drops thoughts before the last question and shows those after it", () => {
      const text = render(
        [
          { role: "user", content: "q1" },
          { role: "assistant", content: "a1", reasoning: "old" },
          { role: "user", content: "q2" },
          calling("\n new\n"),
          { role: "tool", content: "1" },
        ],
        true,
      );
      expect(text).toContain("<|im_start|>assistant\na1<|im_end|>");
      expect(text).toContain("<|im_start|>assistant\n<think>\n new\n</think>\n\n<tool_call>\n");
    });

    it("opens no thought for a turn without one, unless it is the last message", () => {
      const question: ChatMessage = { role: "user", content: "q" };
      const result: ChatMessage = { role: "tool", content: "1" };
      expect(render([question, calling(""), result], true)).toContain("assistant\n<tool_call>");
      expect(render([question, { role: "assistant", content: "\n\na" }], true)).toContain(
        "assistant\n<think>\n\n</think>\n\na<|im_end|>",
      );
    });

    it("takes a user message for a question even if it looks like the result of a tool", () => {
      const text = render(
        [
          { role: "user", content: "q" },
          { role: "assistant", content: "a", reasoning: "secret" },
          { role: "user", content: "<tool_response>x</tool_response>" },
        ],
        true,
      );
      expect(text).not.toContain("secret");
    });
  });
});
