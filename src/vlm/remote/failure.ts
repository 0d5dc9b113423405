// Whatever a request to a server ended with in, one of our errors out. Nothing that came over the wire is quoted here but
// what a refusal lets through.

import { RemoteError } from "../errors.ts";
import { BrokenAnswer, NetworkFailure } from "./open-ai-client.ts";
import { errorOfRefusal, type RefusalContext, ServerRefusal } from "./server-refusal.ts";

/** Errors of ours, and mistakes, pass as they are. */
export function errorOfFailure(failure: unknown, context: RefusalContext): unknown {
  const { host } = context;
  if (failure instanceof ServerRefusal) return errorOfRefusal(failure, context);
  if (failure instanceof BrokenAnswer) {
    const advice = "Does the address end where the server's interface begins (mostly in /v1)?";
    const message = `${host} did not answer as OpenAI's interface does. ${failure.message} ${advice}`;
    return new RemoteError("remote-broken", message, { host });
  }
  if (failure instanceof NetworkFailure) {
    const code = failure.code === undefined ? "" : ` (${failure.code})`;
    if (failure.midway) {
      const message = `The connection to ${host} ended in the middle of an answer${code}.`;
      return new RemoteError("remote-broken", message, { host });
    }
    const message = `${host} cannot be reached${code}. Is the server running, and is the address right?`;
    return new RemoteError("remote-unreachable", message, { host });
  }
  return failure;
}
