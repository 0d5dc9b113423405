// Keys for QQ's picture links. In: a link that its server refused. Out: the same link with keys that may open it.
// NapCat and others hand keys out under three names and in as many shapes. It knows nothing of downloads.

import { isVlmBotError } from "../errors.ts";
import type { NapCatCalls } from "../napcat/calls.ts";
import { isRecord, numberOf, textOf } from "../napcat/wire.ts";
import { isQqHost } from "./qq-hosts.ts";

/** Whoever knows the first does not always have a key: each is asked until a link opens. */
const ACTIONS = ["get_rkey", "nc_get_rkey", "get_rkey_server"] as const;

/** Which key opens a picture: that of the kind of chat it was first sent in, whatever chat it is in now. */
type KeyKind = "private" | "group";

const KIND_OF_APP: Readonly<Record<string, KeyKind>> = { "1406": "private", "1407": "group" };
/** How SnowLuma numbers the kinds. */
const KIND_OF_NUMBER: Readonly<Record<number, KeyKind>> = { 10: "private", 20: "group" };

/** Does this link need a key? Those of older servers, which name a picture by its MD5, need none. */
export function takesKey(url: string): boolean {
  if (!URL.canParse(url)) return false;
  const { hostname, pathname, searchParams } = new URL(url);
  return isQqHost(hostname) && pathname === "/download" && searchParams.has("fileid");
}

/** What is the same in all links to one picture. */
export function withoutKey(url: string): string {
  const link = new URL(url);
  link.searchParams.delete("rkey");
  return link.href;
}

/**
 * The link with one key after another, each asked for when it is needed.
 *
 * @throws {unknown} `signal.reason` when aborted; a refused action is no error, the next one is asked.
 */
export async function* withFreshKeys(
  url: string,
  calls: NapCatCalls,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const link = new URL(url);
  const kind = KIND_OF_APP[link.searchParams.get("appid") ?? ""];
  const tried = new Set([link.searchParams.get("rkey")]);
  for (const action of ACTIONS) {
    for (const key of await keysFrom(action, kind, calls, signal)) {
      if (tried.has(key)) continue;
      tried.add(key);
      link.searchParams.set("rkey", key);
      yield link.href;
    }
  }
}

async function keysFrom(
  action: string,
  kind: KeyKind | undefined,
  calls: NapCatCalls,
  signal: AbortSignal,
): Promise<readonly string[]> {
  try {
    const keys = parseKeys(await calls.call(action, {}, { signal }));
    return keys.filter((key) => kind === undefined || key.kind === kind).map(({ key }) => key);
  } catch (error) {
    signal.throwIfAborted();
    if (!isVlmBotError(error)) throw error;
    return [];
  }
}

/** A list of keys with their kinds, or one object with a key for each kind. */
function parseKeys(answer: unknown): readonly { readonly kind: KeyKind; readonly key: string }[] {
  const list = isRecord(answer) ? (answer.rkeys ?? answer.data) : answer;
  const entries = Array.isArray(list)
    ? list.filter(isRecord).map(({ type, rkey }) => ({ kind: kindOf(type), key: bareKey(rkey) }))
    : isRecord(answer)
      ? (["private", "group"] as const).map((kind) => ({
          kind,
          key: bareKey(answer[`${kind}_rkey`]),
        }))
      : [];
  return entries.flatMap(({ kind, key }) =>
    kind === undefined || key === "" ? [] : [{ kind, key }],
  );
}

function kindOf(type: unknown): KeyKind | undefined {
  if (type === "private" || type === "group") return type;
  return KIND_OF_NUMBER[numberOf(type) ?? 0];
}

/** `&rkey=KEY`, `rkey=KEY` and `KEY` are the same key. */
function bareKey(value: unknown): string {
  const text = textOf(value).trim();
  const query = new URLSearchParams(text.replace(/^[?&]/u, ""));
  return query.get("rkey") ?? text;
}
