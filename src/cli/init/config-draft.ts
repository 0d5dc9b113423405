// A settings file for a beginning, with comments. In: the few answers it takes. Out: its text. What is not asked stands in
// comments where it helps, and in the documentation.

import type { Language } from "../language.ts";

export interface Answers {
  /** Left out: the debug page only. */
  readonly napcat: { readonly url: string; readonly token: string } | undefined;
  /** As it is to stand in the file; `""`: the model that comes along. */
  readonly model: string;
  readonly admins: readonly string[];
  /** Group numbers, or `*`. */
  readonly groups: readonly string[];
  /** Where an editor finds the schema. */
  readonly schema: string;
}

const WORDS = {
  zh: {
    top: "napcat-vlm 的设置。所有选项见 docs/zh-CN/configuration.md；改动会在下一条消息生效。",
    napcat: "NapCat 的 WebSocket 服务器和它的 token。",
    model: "看图和回答的模型：此文件旁边的目录，或下载过的模型的名字。",
    admins: "管理员的 QQ 号：可以用所有命令，不受限制。",
    groups: '机器人服务的群；"*" 是所有群。',
    chats: "某些聊天里的不同之处，例如：",
    persona: "你是一只会看图的猫。",
    store: "让聊天记录在重启后还在：",
  },
  en: {
    top: "Settings of napcat-vlm. All options: docs/en/configuration.md. Changes hold from the next message on.",
    napcat: "NapCat's WebSocket server, and its token.",
    model: "What sees and answers: a directory beside this file, or the name of a pulled model.",
    admins: "QQ numbers of those who may use all commands and know no limits.",
    groups: 'The groups it serves; "*" is all of them.',
    chats: "What is different in some chats, such as:",
    persona: "You are a cat that sees.",
    store: "Keeps chats over a restart:",
  },
} satisfies Record<Language, Record<string, string>>;

/** The text of the file. */
export function draftConfig(answers: Answers, language: Language): string {
  const { napcat, model, admins, groups, schema } = answers;
  const words = WORDS[language];
  const json = (value: unknown) => JSON.stringify(value);
  const token = napcat?.token === "" ? "" : `, "token": ${json(napcat?.token)}`;
  const example = { url: "ws://127.0.0.1:3001" };
  return `// ${words.top}
{
  "$schema": ${json(schema)},

  // ${words.napcat}
  ${napcat === undefined ? `// "napcat": { "url": ${json(example.url)} },` : `"napcat": { "url": ${json(napcat.url)}${token} },`}

  // ${words.model}
  ${model === "" ? '// "model": "./Qwen3-VL-2B-Instruct",' : `"model": ${json(model)},`}

  "bot": {
    // ${words.admins}
    "admins": ${list(admins)},
    // ${words.groups}
    "access": { "groups": { "allow": ${list(groups)} } },
    // ${words.chats}
    // "chats": { "group:123456": { "systemPrompt": ${json(words.persona)} } },
  },

  // ${words.store}
  // "store": { "directory": "./data" },
}
`;
}

function list(values: readonly string[]): string {
  return `[${values.map((value) => JSON.stringify(value)).join(", ")}]`;
}
