// Following redirects without giving anything away. In: an address, headers for all, and credentials for one origin. Out:
// the answer at the end and where it came from. It knows protocols and reach, and no hub.

import {
  drop,
  ForbiddenAddressError,
  type HttpAnswer,
  type HttpGetter,
  type HttpOptions,
} from "./http-client.ts";
import type { Reach } from "./reach.ts";

export interface FollowOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent to this origin and to no other, whoever sends us there. */
  readonly credentials?: {
    readonly origin: string;
    readonly headers: Readonly<Record<string, string>>;
  };
  /** Of a mirror below a path, such as `/hf`: its hub's own redirects leave that out. @default "" */
  readonly basePath?: string;
  readonly signal?: AbortSignal | undefined;
  /** Where the first host lies. @default anywhere may be gone */
  readonly reach?: Reach | undefined;
  /** @default 5 */
  readonly maxHops?: number;
}

export interface Followed {
  readonly answer: HttpAnswer;
  /** The last address; may hold a signature. */
  readonly url: URL;
}

const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** A redirect that is not followed; the message names hosts, never a whole URL. */
export class RedirectError extends Error {
  override readonly name = "RedirectError";
  readonly host: string;

  constructor(host: string, message: string, cause?: unknown) {
    super(message, { cause });
    this.host = host;
  }
}

/** @throws RedirectError for too many, for one to no address, to another protocol, or into a private network */
export async function follow(
  client: HttpGetter,
  first: URL,
  options: FollowOptions,
): Promise<Followed> {
  const { headers = {}, credentials, basePath = "", signal, reach, maxHops = 5 } = options;
  let url = first;
  for (let hops = 0; ; hops++) {
    const own = credentials?.origin === url.origin ? credentials.headers : {};
    const ledFrom = url.origin === first.origin ? undefined : reach;
    const answer = await ask(client, url, first, {
      headers: { ...headers, ...own },
      signal,
      ledFrom,
    });
    const { location } = answer.headers;
    const isLost = answer.status === 404 && url.origin === first.origin && hops > 0;
    if (isLost && hops < maxHops && !url.pathname.startsWith(`${basePath}/`)) {
      drop(answer);
      url = new URL(`${basePath}${url.pathname}${url.search}`, url);
      continue;
    }
    if (!REDIRECTS.has(answer.status) || location === undefined) return { answer, url };
    drop(answer);
    const next = nextAddress(url, location, answer.status);
    if (hops === maxHops) {
      throw new RedirectError(
        first.host,
        `${first.host} answered HTTP ${answer.status} ${hops + 1} times, last to ${next.host}, and led nowhere.`,
      );
    }
    url = next;
  }
}

async function ask(
  client: HttpGetter,
  url: URL,
  first: URL,
  options: HttpOptions,
): Promise<HttpAnswer> {
  try {
    return await client.get(url, options);
  } catch (error) {
    if (!(error instanceof ForbiddenAddressError)) throw error;
    throw new RedirectError(
      first.host,
      `${first.host} sent us on to ${url.host}, which ${error.message}. That is not followed.`,
      error,
    );
  }
}

function nextAddress(url: URL, location: string, status: number): URL {
  if (!URL.canParse(location, url.href)) {
    throw new RedirectError(url.host, `${url.host} answered HTTP ${status} to no address.`);
  }
  const next = new URL(location, url);
  const isWeb = next.protocol === "https:" || next.protocol === "http:";
  if (!isWeb || (next.protocol === "http:" && url.protocol === "https:")) {
    throw new RedirectError(
      url.host,
      `${url.host} answered HTTP ${status} to ${next.protocol}//${next.host}, which is not https.`,
    );
  }
  next.username = "";
  next.password = "";
  return next;
}
