// A proxy that is not there, or does not lead on. In: what a connection failed with, the proxy, and whom it should have led
// to. Out: an error that names the proxy, without the name and password in its address.

import { codeOf } from "../../disk-error.ts";

/** Its message is a whole clause; no cause is kept, as that may hold a password. */
export class ProxyError extends Error {
  override readonly name = "ProxyError";
}

/** Of a connection that was never made. */
const NOT_THERE = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "EHOSTDOWN",
  "ENETUNREACH",
  "EADDRNOTAVAIL",
]);
const TOO_LATE = new Set(["UND_ERR_CONNECT_TIMEOUT", "ETIMEDOUT"]);

/** Undefined: it is not the proxy's. @param host whom it should have led to */
export function proxyError(error: unknown, proxy: string, host: string): ProxyError | undefined {
  if (error instanceof ProxyError) return error;
  const { host: itself } = new URL(proxy);
  const code = codeOf(error) ?? "";
  const said = error instanceof Error ? error.message : "";
  if (NOT_THERE.has(code)) return notThere(itself, code);
  if (TOO_LATE.has(code)) return noWay(itself, host, "in time");
  // In words only: what undici says of an answer to CONNECT.
  const status = /^Proxy response \((\d{3})\)/u.exec(said)?.[1];
  if (status === "407") return wantsPassword(itself);
  return status === undefined ? undefined : noWay(itself, host, `(HTTP ${status})`);
}

/** The same of what the package `socks` says, in words only and with the whole address in its options. */
export function socksError(error: unknown, proxy: string, host: string): ProxyError {
  const { host: itself } = new URL(proxy);
  const said = error instanceof Error ? error.message : "";
  const code = codeOf(error) ?? /\b(E[A-Z]{4,20})\b/u.exec(said)?.[1] ?? "";
  if (NOT_THERE.has(code)) return notThere(itself, code);
  if (/authentication/iu.test(said)) return wantsPassword(itself);
  const refused = /rejected connection(?: - \(?(\w{1,40}))?/u.exec(said);
  if (refused) return noWay(itself, host, refused[1] === undefined ? "" : `(${refused[1]})`);
  if (/timed out/iu.test(said) || TOO_LATE.has(code)) return noWay(itself, host, "in time");
  return new ProxyError(`The proxy ${itself} does not answer as one`);
}

function notThere(proxy: string, code: string): ProxyError {
  return new ProxyError(`The proxy ${proxy} cannot be reached (${code})`);
}

function noWay(proxy: string, host: string, why: string): ProxyError {
  return new ProxyError(`The proxy ${proxy} makes no connection to ${host} ${why}`.trim());
}

function wantsPassword(proxy: string): ProxyError {
  return new ProxyError(`The proxy ${proxy} wants a name and a password, or others`);
}
