// A model elsewhere in one word, as a command line and a settings file name it: `openai:http://host:8000/v1#name`.
// In: that word. Out: address and name, or what is wrong with it. It asks nobody.

export interface RemoteAddress {
  readonly baseURL: string;
  /** Left out: the first that the server lists. */
  readonly model?: string;
}

const SCHEME = "openai:";

/** Does this name a model elsewhere, rightly or wrongly? */
export function isElsewhere(text: string): boolean {
  return text.startsWith(SCHEME);
}

/**
 * Reads `openai:<address>#<name>`; whatever does not begin with `openai:` names something else.
 *
 * @throws {TypeError} for an address that is none, without repeating it: it may hold a key
 */
export function parseRemoteAddress(text: string): RemoteAddress | undefined {
  if (!isElsewhere(text)) return undefined;
  const [address = "", ...name] = text.slice(SCHEME.length).split("#");
  if (!isServerAddress(address)) {
    throw new TypeError(
      "Expected a model elsewhere to look like `openai:http://127.0.0.1:8000/v1#name`: an http or https address " +
        "without user, password or query, and perhaps the name of a model behind `#`.",
    );
  }
  // Names have slashes and may have a `#`.
  const model = decodeName(name.join("#"));
  return { baseURL: address, ...(model === "" ? {} : { model }) };
}

/** An address without secrets: those would show in logs and errors, so keys have an option of their own. */
export function isServerAddress(value: unknown): value is string {
  if (typeof value !== "string" || !URL.canParse(value)) return false;
  const { protocol, username, password, search } = new URL(value);
  return /^https?:$/u.test(protocol) && username + password + search === "";
}

function decodeName(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}
