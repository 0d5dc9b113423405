// The chat template a checkpoint brings along: where it lies, and whether it asks for what our chat format writes.
// In: files of the checkpoint, something that renders Jinja. Out: thinking or not, and the features that differ.

import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { disk } from "../../disk.ts";
import { ModelLoadError } from "../errors.ts";
import { isObject } from "../json-object.ts";
import type { ChatMessage } from "../vision-language-model.ts";
import { formatChat, renderChat } from "./chat-format.ts";

/** What a chat template is asked to render. */
export interface TemplateInput {
  /** Messages as the reference's templates want them. */
  readonly messages: readonly Readonly<Record<string, unknown>>[];
  readonly tools?: readonly Readonly<Record<string, unknown>>[];
  readonly addVisionIds?: boolean;
}

/** Renders the checkpoint's template, generation prompt included; throws if the template cannot be rendered. */
export type RenderTemplate = (input: TemplateInput) => string;

/** A part of the chat format that a checkpoint's template may write in another way. */
export type TemplateFeature =
  | "chat"
  | "system-prompt"
  | "pictures"
  | "vision-ids"
  | "reasoning"
  | "tools";

/** Reads the template of a checkpoint: chat_template.jinja, chat_template.json, tokenizer_config.json, in this order. */
export async function readChatTemplate(
  dir: string,
  tokenizerConfig: Readonly<Record<string, unknown>>,
): Promise<string | undefined> {
  const jinja = await readIfThere(join(dir, "chat_template.jinja"));
  if (jinja !== undefined) return jinja;
  const json = await readIfThere(join(dir, "chat_template.json"));
  if (json !== undefined) {
    const template = pickTemplate(parseTemplateJson(json, dir));
    if (template !== undefined) return template;
  }
  return pickTemplate(tokenizerConfig.chat_template);
}

/** Does the template's generation prompt open a thought? */
export function opensThought(render: RenderTemplate): boolean {
  const rendered = tryRender(render, { messages: [{ role: "user", content: "?" }] });
  return rendered !== undefined && /<think>\s*$/.test(rendered);
}

/**
 * Renders fixed conversations with the checkpoint's template and with our format, and names what differs. The event loop
 * has its turn between any two.
 */
export async function compareChatFormat(
  render: RenderTemplate,
  thinking: boolean,
): Promise<TemplateFeature[]> {
  const differing = new Set<TemplateFeature>();
  for (const { feature, messages, tools, addVisionIds } of PROBES) {
    const ours = renderChat(formatChat(messages, { thinking, tools, addVisionIds }));
    const input = { messages: messages.map((message) => toTemplateMessage(message, thinking)) };
    const theirs = tryRender(render, { ...input, ...(tools && { tools }), addVisionIds });
    if (ours !== theirs) differing.add(feature);
    await setImmediate();
  }
  return [...differing];
}

interface Probe {
  readonly feature: TemplateFeature;
  readonly messages: readonly ChatMessage[];
  readonly tools?: readonly Readonly<Record<string, unknown>>[];
  readonly addVisionIds: boolean;
}

const PICTURE = { type: "image", data: new Uint8Array() } as const;

const PROBES: readonly Probe[] = [
  probe("chat", [
    { role: "user", content: "a" },
    { role: "assistant", content: "b" },
    { role: "user", content: "c" },
  ]),
  probe("system-prompt", [
    { role: "system", content: "s" },
    { role: "user", content: "a" },
  ]),
  probe("pictures", [
    { role: "user", content: [PICTURE, { type: "text", text: "a" }, PICTURE] },
    { role: "assistant", content: "b" },
    { role: "user", content: [{ type: "text", text: "c\n" }, PICTURE] },
  ]),
  probe("vision-ids", [{ role: "user", content: [PICTURE, PICTURE] }], { addVisionIds: true }),
  probe("reasoning", [
    { role: "user", content: "a" },
    { role: "assistant", content: "b", reasoning: "r" },
    { role: "user", content: "c" },
  ]),
  probe(
    "tools",
    [
      { role: "user", content: "a" },
      { role: "assistant", content: "", toolCalls: [{ name: "f", arguments: { q: "é", n: [1] } }] },
      { role: "tool", content: "1" },
      { role: "tool", content: "2" },
    ],
    { tools: [{ type: "function", function: { name: "f", parameters: { type: "object" } } }] },
  ),
];

function probe(
  feature: TemplateFeature,
  messages: readonly ChatMessage[],
  options: Partial<Pick<Probe, "tools" | "addVisionIds">> = {},
): Probe {
  return { feature, messages, addVisionIds: false, ...options };
}

/** Our message in the words of the reference's templates. */
function toTemplateMessage(message: ChatMessage, thinking: boolean): Record<string, unknown> {
  if (message.role !== "assistant")
    return { role: message.role, content: toTemplateContent(message) };
  const { role, content, reasoning, toolCalls } = message;
  const calls = toolCalls && { tool_calls: toolCalls.map((call) => ({ function: call })) };
  if (reasoning === undefined) return { role, content, ...calls };
  // Only the Thinking template knows a field for thoughts.
  if (thinking) return { role, content, reasoning_content: reasoning, ...calls };
  return { role, content: `<think>\n${reasoning}\n</think>\n\n${content}`, ...calls };
}

function toTemplateContent({ content }: ChatMessage): unknown {
  if (typeof content === "string") return content;
  return content.map((part) => (part.type === "image" ? { type: "image" } : part));
}

function tryRender(render: RenderTemplate, input: TemplateInput): string | undefined {
  try {
    return render(input);
  } catch {
    // A template that refuses a conversation, such as one with tools, is another format and not a failure.
    return undefined;
  }
}

/** A template, or a list of named ones, of which `default` counts. */
function pickTemplate(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return undefined;
  const named = value.find((item: unknown) => isObject(item) && item.name === "default");
  return isObject(named) && typeof named.template === "string" ? named.template : undefined;
}

function parseTemplateJson(text: string, dir: string): unknown {
  try {
    const json: unknown = JSON.parse(text);
    return isObject(json) ? json.chat_template : undefined;
  } catch (cause) {
    throw new ModelLoadError("model-corrupt", "chat_template.json is not valid JSON.", {
      cause,
      modelDir: dir,
    });
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await disk.readText(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
