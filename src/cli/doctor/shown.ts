// What of a line may be shown to strangers: the report is made to be pasted into a bug report. In: text of this machine.
// Out: the same without people's names in paths, tokens, addresses on the internet and what hangs on them.

import { homedir, userInfo } from "node:os";
import ipaddr from "ipaddr.js";

/** Where remedies lead: pages and files that everybody may know. */
const PUBLIC_HOSTS =
  /^(?:aka\.ms|nodejs\.org|github\.com|(?:[\w-]+\.)*(?:microsoft\.com|nuget\.org|nvidia\.com|npmjs\.com|npmmirror\.com))$/i;

/** Shorter ones are parts of ordinary words, and nobody prints a token anyway: this is the second guard. */
const SHORTEST_SECRET = 4;

export interface Private {
  /** Values that must not appear, such as tokens. */
  readonly secrets: readonly string[];
  readonly home: string;
  readonly user: string;
}

export function privateThings(secrets: readonly (string | undefined)[]): Private {
  return {
    secrets: secrets.filter((secret) => secret !== undefined),
    home: homedir(),
    user: userName(),
  };
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return ""; // A container may run as a number that has no name.
  }
}

/** Makes a line of the report fit for strangers. */
export function shown(text: string, { secrets, home, user }: Private): string {
  let safe = text;
  for (const secret of secrets.filter(({ length }) => length >= SHORTEST_SECRET)) {
    safe = safe.replaceAll(secret, "<hidden>").replaceAll(encodeURIComponent(secret), "<hidden>");
  }
  safe = safe
    .replace(/\b[a-z][a-z0-9+.-]*:\/\/[^\s"'<>，。）]+/giu, shownUrl)
    .replace(
      /\b(access_token|token|rkey|key|authorization)\b["']?\s*[=:]\s*[^\s"'<]+/giu,
      "$1=<hidden>",
    )
    .replace(/[A-Za-z0-9+_=-]{40,}/gu, "<data>");
  return shownPath(safe, home, user);
}

function shownPath(text: string, home: string, user: string): string {
  let safe = text;
  // A home such as / or /root names nobody.
  if (home.length > 5) safe = replacePath(safe, home, "~");
  safe = safe.replace(
    /((?:^|[^\w.])(?:[a-z]:)?[\\/](?:home|users)[\\/])[^\\/\s:"']+/giu,
    "$1<user>",
  );
  if (user === "" || user === "root") return safe;
  const segment = new RegExp(`(?<=[\\\\/])${escaped(user)}(?=[\\\\/\\s"']|$)`, "giu");
  return safe.replace(segment, "<user>");
}

/** The directory itself and what lies in it; not another whose name begins the same way. */
function replacePath(text: string, path: string, by: string): string {
  const anySlash = path.split(/[\\/]/).map(escaped).join("[\\\\/]");
  return text.replace(new RegExp(`${anySlash}(?=[\\\\/\\s"'，,。)]|$)`, "giu"), by);
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

/** Scheme and host are enough to see what is meant; a host on the internet is its owner's affair. */
function shownUrl(url: string): string {
  if (!URL.canParse(url)) return "<url>";
  const { protocol, host, hostname, search, username } = new URL(url);
  if (PUBLIC_HOSTS.test(hostname) && search === "" && username === "") return url;
  return `${protocol}//${shownHost(host)}`;
}

/** `host:port`, the host hidden unless it is on this machine or its own network. */
export function shownHost(host: string): string {
  const [, name = host, port = ""] = /^(\[[^\]]*\]|[^:]*)(:\d+)?$/.exec(host) ?? [];
  return isLocal(name.replace(/^\[(.*)\]$/, "$1")) ? host : `<host>${port}`;
}

function isLocal(name: string): boolean {
  if (ipaddr.isValid(name)) return ipaddr.process(name).range() !== "unicast";
  return !name.includes(".") && !name.includes(":"); // localhost, or a name in a container's network
}

/** Enough of a QQ number to know one's own again. */
export function shownQq(id: string): string {
  return id.length < 7 ? id : `${id.slice(0, 3)}****${id.slice(-2)}`;
}
