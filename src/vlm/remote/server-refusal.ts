// What a server said instead of an answer. In: a status, headers and a body of any form. Out: facts, and from those one
// of our errors. Words of the server are quoted only where they hold nothing of the request and no key.

import { PromptTooLongError, RemoteError, type RemoteErrorCode } from "../errors.ts";
import { isObject } from "../json-object.ts";

/** The facts of a refusal; its words may repeat what was sent, so it stays inside this folder. */
export class ServerRefusal extends Error {
  override readonly name = "ServerRefusal";
  /** Of HTTP; with 200 the refusal came in the place of an answer. */
  readonly status: number;
  /** Short names that servers give to their errors: code and type. */
  readonly names: readonly string[];
  /** What the server said, as it is. */
  readonly words: string;
  readonly retryAfterMs: number | undefined;
  /** Tokens of the prompt, and how many fit, where the server says so. */
  readonly tokens: { readonly prompt: number; readonly max: number };

  constructor(status: number, body: unknown, headers?: { get(name: string): string | null }) {
    super("The server refused.");
    const fields = fieldsOf(body);
    this.names = [fields.code, fields.type].filter((name) => /^[\w.-]{1,60}$/u.test(name));
    // An error in the middle of an answer carries its status as a code.
    this.status = status === 200 && /^[45]\d\d$/u.test(fields.code) ? Number(fields.code) : status;
    this.words = fields.message.slice(0, 4000);
    this.retryAfterMs = retryAfter(headers);
    this.tokens = tokensOf(body, this.words);
  }

  /** The prompt is longer than the server's context. */
  get tooLong(): boolean {
    const code = this.names.join(" ");
    if (/context_length|exceed_context/u.test(code)) return true;
    return (
      (this.status === 200 || (this.status >= 400 && this.status !== 404)) &&
      /context (length|size|window)|maximum (model |input )?length|max_model_len|too many tokens|longer than the (max|model)|exceeds? the (available|model's|max)/iu.test(
        this.words,
      )
    );
  }

  /** It has no eyes: llama-server says so as if it had failed. */
  get blind(): boolean {
    return /(image|vision|multimodal|mmproj)[^.]*\bnot support/iu.test(this.words);
  }

  /** Asking again may help. */
  get passing(): boolean {
    if (this.blind) return false;
    return this.status === 408 || this.status === 409 || this.status === 429 || this.status >= 500;
  }
}

export interface RefusalContext {
  /** Host and port. */
  readonly host: string;
  readonly model: string;
  /** What must not be in an error: every text of the request, and the key. */
  readonly secrets: readonly string[];
}

/** The error that a caller sees. */
export function errorOfRefusal(
  refusal: ServerRefusal,
  context: RefusalContext,
): RemoteError | PromptTooLongError {
  if (refusal.tooLong) return new PromptTooLongError(refusal.tokens.prompt, refusal.tokens.max);
  const { host, model } = context;
  const { status, retryAfterMs } = refusal;
  const code = codeOf(refusal);
  const advice: Partial<Record<RemoteErrorCode, string>> = {
    "remote-unauthorized": "Is the key right, and may it use this model?",
    "remote-model-unknown": `Does it serve \`${model}\`, and does the address end as it should (mostly in /v1)?`,
    "remote-busy": "Try again later.",
  };
  const said = status === 200 ? "answered with an error" : `refused with HTTP ${status}`;
  const names = refusal.names.length === 0 ? "" : ` (${refusal.names.join(", ")})`;
  const message = [
    `${host} ${said}${names}.`,
    quotable(refusal.words, context.secrets),
    advice[code] ?? "",
  ];
  return new RemoteError(code, message.filter(Boolean).join(" "), { host, status, retryAfterMs });
}

function codeOf({ status, names, blind }: ServerRefusal): RemoteErrorCode {
  const code = names.join(" ");
  if (blind) return "remote-refused";
  if (status === 401 || status === 403) return "remote-unauthorized";
  if (status === 404 || /model_not_found/u.test(code)) return "remote-model-unknown";
  if (status === 429) return "remote-busy";
  if (status === 408 || status === 504) return "remote-timed-out";
  if (status === 503) return "remote-busy";
  if (status === 200 || status >= 500) return "remote-failed";
  return "remote-refused";
}

/** Words of the server that say nothing of the request; `""` where they would. */
function quotable(words: string, secrets: readonly string[]): string {
  // Web pages explain nothing, and validation errors of some servers repeat the whole request.
  if (/<(html|!doctype|head|body)\b/iu.test(words)) return "";
  const line = words
    .replace(/\b[a-z][a-z\d+.-]*:\/\/[^\s"'<>]+/giu, "<url>")
    .replace(/\bdata:[^\s"']+/giu, "<data>")
    .replace(/[\w+/=-]{32,}/gu, "<data>")
    .replace(/\s+/gu, " ")
    .trim()
    .slice(0, 200);
  const shared = secrets.some((secret) => sharesText(line, secret));
  return line === "" || shared ? "" : `It says: ${line}`;
}

/** So many characters in a row that both have are no chance. */
const SHARED_CHARACTERS = 8;
/** Where a text is shorter than that, all of it counts, down to this many. */
const SHORTEST_SECRET = 2;

function sharesText(line: string, secret: string): boolean {
  if (secret.length < SHORTEST_SECRET) return false;
  if (secret.length <= SHARED_CHARACTERS) return line.includes(secret);
  for (let at = 0; at + SHARED_CHARACTERS <= line.length; at++) {
    if (secret.includes(line.slice(at, at + SHARED_CHARACTERS))) return true;
  }
  return false;
}

interface Fields {
  readonly message: string;
  readonly code: string;
  readonly type: string;
}

/** OpenAI's `{error: {…}}`, the flat body of some, `{detail}` of FastAPI, `{error: "…"}` of Ollama, or plain text. */
function fieldsOf(body: unknown): Fields {
  if (typeof body === "string") return { message: body, code: "", type: "" };
  if (!isObject(body)) return { message: "", code: "", type: "" };
  const inner = body.error ?? body;
  if (!isObject(inner)) return fieldsOf(inner);
  const message = inner.message ?? inner.detail ?? inner.error ?? "";
  return {
    message: typeof message === "string" ? message : JSON.stringify(message),
    code: wordOf(inner.code),
    type: wordOf(inner.type),
  };
}

function wordOf(value: unknown): string {
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
}

function tokensOf(body: unknown, words: string): { readonly prompt: number; readonly max: number } {
  const inner = isObject(body) && isObject(body.error) ? body.error : body;
  const field = (name: string) =>
    isObject(inner) && typeof inner[name] === "number" ? inner[name] : undefined;
  const found = (pattern: RegExp) => {
    const digits = pattern.exec(words)?.[1];
    return digits === undefined ? undefined : Number(digits);
  };
  return {
    prompt:
      field("n_prompt_tokens") ??
      found(/\((\d+) in the messages/u) ??
      found(/(?:requested|resulted in|prompt contains(?: at least)?|input is|has) (\d+)/u) ??
      Number.NaN,
    max:
      field("n_ctx") ??
      found(/(?:context length is|context length of|length of|at most|maximum of) (\d+)/u) ??
      Number.NaN,
  };
}

/** `Retry-After` is seconds or a date; some servers are more exact. */
function retryAfter(headers: { get(name: string): string | null } | undefined): number | undefined {
  const exact = Number(headers?.get("retry-after-ms") ?? Number.NaN);
  if (Number.isFinite(exact) && exact >= 0) return exact;
  const given = headers?.get("retry-after");
  if (given === null || given === undefined || given.trim() === "") return undefined;
  const ms = /^\d+(\.\d+)?$/u.test(given.trim())
    ? Number(given) * 1000
    : Date.parse(given) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}
