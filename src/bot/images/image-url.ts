// May we fetch it? A URL out of a chat message in, a checked URL or a refusal out.
// Anyone in a chat may have written it. It knows nothing of how bytes are fetched.

import { type LookupAddress, lookup as systemLookup } from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import ipaddr from "ipaddr.js";
import { ImageFetchError } from "../errors.ts";
import { isInventedByProxy, isQqHost } from "./qq-hosts.ts";

export interface ImageUrlPolicy {
  /** Hosts besides QQ's own, as `host` (default ports only) or `host:port`. */
  readonly extraHosts: readonly string[];
  /** Whether `extraHosts` may be on a private network; QQ's own hosts never are, whatever this says. */
  readonly allowPrivateAddresses: boolean;
}

/**
 * Checks everything about a URL that can be checked without DNS.
 *
 * @throws {ImageFetchError} `url-refused`.
 */
export function checkImageUrl(url: string, policy: ImageUrlPolicy): URL {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined) throw refusal("it is no URL");
  if (parsed.protocol !== "https:" && parsed.protocol !== "http:") {
    throw refusal(`its scheme is ${parsed.protocol}`);
  }
  if (parsed.username !== "" || parsed.password !== "") throw refusal("it holds a password");
  // `host` has the port only if it is not the default one of the scheme.
  const host = parsed.host.toLowerCase();
  const named = policy.extraHosts.some((extra) => extra.toLowerCase() === host);
  if (!named && !(parsed.port === "" && isQqHost(host))) {
    throw refusal("its host is not among those allowed", parsed.hostname);
  }
  const address = bareAddress(parsed.hostname);
  if (isIP(address) !== 0 && !isPublicAddress(address) && !policy.allowPrivateAddresses) {
    throw refusal("it is on a private network", parsed.hostname);
  }
  return parsed;
}

/**
 * A DNS look-up that fails for names that lead to a private network, at the moment of connecting. For QQ's own hosts,
 * which nobody else can point anywhere, it takes what a local proxy answers in place of their address.
 */
export function guardedLookup(
  policy: ImageUrlPolicy,
  lookup: LookupFunction = (...question) => (systemLookup as LookupFunction)(...question),
): LookupFunction {
  return (hostname, options, callback) => {
    const isQqs = isQqHost(hostname);
    const allowed = (address: string) =>
      isPublicAddress(address) ||
      (isQqs ? isInventedByProxy(address) : policy.allowPrivateAddresses);
    lookup(hostname, { ...options, all: true }, (error, found) => {
      if (error !== null) return callback(error, "");
      const addresses = found as LookupAddress[];
      if (!addresses.every(({ address }) => allowed(address))) {
        return callback(refusal("it is on a private network", hostname), "");
      }
      if (options.all === true) return callback(null, addresses);
      const [first] = addresses;
      if (first === undefined) return callback(refusal("its host has no address", hostname), "");
      callback(null, first.address, first.family);
    });
  };
}

/** Is this address on the public internet? Loopback, private, link-local, mapped and reserved ones are not. */
export function isPublicAddress(address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  // `process` turns ::ffff:127.0.0.1 into 127.0.0.1.
  return ipaddr.process(address).range() === "unicast";
}

function bareAddress(hostname: string): string {
  return hostname.replace(/^\[|\]$/gu, "");
}

function refusal(reason: string, host?: string): ImageFetchError {
  return new ImageFetchError(
    "url-refused",
    `A picture was not fetched: ${reason}${host === undefined ? "" : ` (${host})`}.`,
    { host },
  );
}

/**
 * Links NapCat builds from a built-in key when it has no fresh one: they answer "expired", always.
 */
export function isKnownDead(url: string): boolean {
  if (!URL.canParse(url)) return false;
  const { hostname, pathname, searchParams } = new URL(url);
  return (
    hostname === "gchat.qpic.cn" &&
    pathname === "/download" &&
    (searchParams.get("rkey") ?? "").startsWith("CAQSKAB6JWENi5LM_xp9vumLbuThJSaYf-")
  );
}
