// Markdown in, text that reads well without it out: QQ shows every star and bar as it is. Code, formulas and links keep
// every character; bold, headings, lists and tables keep what they say. It knows nothing of how long a message may be.

import { Marked, type Token, type Tokens } from "marked";
import type { Range } from "./split.ts";

/** Text, and the parts of it that belong in one message. */
export interface PlainText {
  readonly text: string;
  readonly whole: readonly Range[];
}

/** Longer texts are no answers of a chat, and not worth the time a parser takes. */
const MAX_CHARACTERS = 100_000;

const FORMULA =
  /^(?:\\\(([\s\S]+?)\\\)|\\\[([\s\S]+?)\\\]|\$\$([\s\S]+?)\$\$|\$(?=\S)([^$\n]*?[^\s$])\$(?!\d))/u;
/** In Chinese there are no spaces around bold words, which is more than CommonMark puts up with. */
const BOLD = /^\*\*(?=[^\s*])([\s\S]*?[^\s*])\*\*(?!\*)/u;

const markdown = new Marked({
  extensions: [
    {
      name: "formula",
      level: "inline",
      start: (text) => text.search(/\\[([]|\$/u),
      tokenizer(text) {
        const match = FORMULA.exec(text);
        if (match === null) return undefined;
        const formula = match.slice(1).find((part) => part !== undefined) ?? "";
        return { type: "formula", raw: match[0], text: formula.trim() };
      },
    },
    {
      name: "bold",
      level: "inline",
      start: (text) => text.indexOf("**"),
      tokenizer(text) {
        const match = BOLD.exec(text);
        if (match === null) return undefined;
        return { type: "strong", raw: match[0], tokens: this.lexer.inlineTokens(match[1] ?? "") };
      },
    },
  ],
  tokenizer: {
    // People write "好的~": a single `~` strikes nothing out.
    del: (text) => (text.startsWith("~~") ? false : undefined),
    // Words with spaces in front are a poem more often than they are code.
    code: () => undefined,
    def: () => undefined,
  },
});

export function plainText(text: string): PlainText {
  const source = text.trim();
  if (source.length > MAX_CHARACTERS) return { text: source, whole: [] };
  try {
    const plain = read(source);
    // Marks around nothing: somebody may have meant them.
    return plain.text === "" ? { text: source, whole: [] } : plain;
  } catch {
    // What is nested deeper than any parser goes is shown as it is.
    return { text: source, whole: [] };
  }
}

function read(source: string): PlainText {
  const whole: Range[] = [];
  let plain = "";
  for (const token of markdown.lexer(source)) {
    const start = plain.length;
    plain += block(token);
    if (token.type === "code" || token.type === "table") whole.push({ start, end: plain.length });
  }
  return { text: plain.trimEnd(), whole };
}

/** With the line breaks that follow it. */
function block(token: Token): string {
  const after = /\n*$/u.exec(token.raw)?.[0] ?? "";
  switch (token.type) {
    case "space":
      return token.raw;
    case "heading":
    case "paragraph":
    case "text":
      return inline(token) + after;
    case "code":
      return (token as Tokens.Code).text + after;
    case "blockquote":
      return prefixed(blocks((token as Tokens.Blockquote).tokens), "> ") + after;
    case "list":
      return list(token as Tokens.List) + after;
    case "table":
      return table(token as Tokens.Table) + after;
    case "hr":
      return `————${after}`;
    default:
      return token.raw;
  }
}

function blocks(tokens: readonly Token[]): string {
  return tokens.map(block).join("").trimEnd();
}

function list({ items, loose }: Tokens.List): string {
  const lines = items.map((item) => {
    const [, marker = "-"] = /^\s*(\S+)/u.exec(item.raw) ?? [];
    const task = item.task ? (item.checked === true ? "[x] " : "[ ] ") : "";
    const tokens = item.tokens.filter(({ type }) => type !== "checkbox");
    // A list inside begins on a line of its own.
    const inner = tokens.map((token, index) => {
      const before = tokens[index - 1];
      const joins = before !== undefined && !before.raw.endsWith("\n");
      return (joins ? "\n" : "") + block(token);
    });
    const text = inner.join("").trimEnd().replaceAll("\n", "\n  ");
    return `${/^[*+-]$/u.test(marker) ? "-" : marker} ${task}${text}`;
  });
  return lines.join(loose ? "\n\n" : "\n");
}

function table({ header, rows }: Tokens.Table): string {
  const line = (cells: readonly Tokens.TableCell[]) =>
    cells.map((cell) => inlines(cell.tokens).trim()).join(" | ");
  return [header, ...rows].map(line).join("\n");
}

function prefixed(text: string, prefix: string): string {
  return text
    .split("\n")
    .map((line) => `${prefix}${line}`)
    .join("\n");
}

function inlines(tokens: readonly Token[]): string {
  return tokens.map(inline).join("");
}

function inline(token: Token): string {
  switch (token.type) {
    case "br":
      return "\n";
    case "codespan":
    case "formula":
    case "escape":
      return (token as Tokens.Codespan).text;
    case "image":
    case "link":
      return link(token as Tokens.Link);
    case "html":
      return /^<br\s*\/?>$/iu.test(token.raw.trim()) ? "\n" : token.raw;
    default:
      if ("tokens" in token && token.tokens !== undefined) return inlines(token.tokens);
      return unescaped("text" in token && typeof token.text === "string" ? token.text : token.raw);
  }
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&lt;": "<",
  "&gt;": ">",
  "&amp;": "&",
  "&quot;": '"',
  "&#39;": "'",
};

/** What Markdown has to write as an entity; QQ shows text as it is. */
function unescaped(text: string): string {
  return text.replace(/&(?:lt|gt|amp|quot|#39);/gu, (entity) => ENTITIES[entity] ?? entity);
}

/** What it says and where it leads; once, where both are the same. */
function link({ href, text, tokens, raw }: Tokens.Link): string {
  if (!/^!?\[/u.test(raw)) return text;
  const said = tokens === undefined ? text : inlines(tokens);
  return said === "" || said === href ? href : `${said} (${href})`;
}
