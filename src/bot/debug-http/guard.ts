// Who may talk to the debug adapter. In: the headers of a request. Out: nothing, or a refusal.
// On loopback the danger is a web page somewhere else that a browser on this machine has open; beyond it, everybody.

import { createHash, timingSafeEqual } from "node:crypto";
import type { MiddlewareHandler } from "hono";
import { isLoopback } from "./loopback.ts";
import { RequestError } from "./request-error.ts";

/**
 * Refuses what a foreign web page could send: a name that was rebound to this machine (Host), or a page of another
 * origin (Origin). Programs send no Origin and pass.
 */
export function refuseForeignPages(): MiddlewareHandler {
  return async function refuseForeignPages(context, next) {
    const host = context.req.header("host") ?? "";
    if (!isLoopback(hostName(host))) {
      throw new RequestError(
        403,
        "foreign-host",
        "This address answers to localhost and 127.0.0.1 only.",
      );
    }
    const origin = context.req.header("origin");
    if (origin !== undefined && origin !== `http://${host}`) {
      throw new RequestError(403, "foreign-origin", "Web pages of other sites are not served.");
    }
    await next();
  };
}

/** Asks for the token: `Authorization: Bearer …` or, where a browser opens the page, `?token=…`. */
export function requireToken(token: string, allowQuery: boolean): MiddlewareHandler {
  const expected = digest(token);
  return async function requireToken(context, next) {
    const bearer = /^Bearer +(.+)$/i.exec(context.req.header("authorization") ?? "")?.[1];
    const given = bearer ?? (allowQuery ? context.req.query("token") : undefined);
    if (given === undefined || !timingSafeEqual(digest(given), expected)) {
      throw new RequestError(
        401,
        "unauthorized",
        `Send the token as \`Authorization: Bearer …\`${allowQuery ? " or open this page with `?token=…`" : ""}.`,
        { "WWW-Authenticate": "Bearer" },
      );
    }
    await next();
  };
}

function hostName(host: string): string {
  try {
    return new URL(`http://${host}`).hostname;
  } catch {
    return "";
  }
}

/** Digests have one length, so comparing them tells nothing about the token's. */
function digest(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
