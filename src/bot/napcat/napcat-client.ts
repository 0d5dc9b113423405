// The part of a NapCat connection that the bot uses. A `NCWebsocket` fits, a `NapCatConnection` and a `FakeNapCat` too.

/** Names of the events the bot listens to. */
export type NapCatEvent = "message" | "notice" | "meta_event" | "socket.close";

/**
 * A connection to NapCat, or anything that behaves like one.
 *
 * Handlers must not throw and their promises must not reject: `node-napcat-ts` would skip other handlers, or end the process.
 */
export interface NapCatClient {
  on(event: NapCatEvent, handler: (context: unknown) => void): unknown;
  off(event: NapCatEvent, handler: (context: unknown) => void): unknown;
  /** Resolves with the `data` of the answer; rejects with the answer itself, which is no `Error`. */
  send(action: string, params: object): Promise<unknown>;
}

/** @throws {TypeError} if the value has not what the bot needs. */
export function expectClient(client: NapCatClient): void {
  const isObject = typeof client === "object" && client !== null;
  const missing = ["on", "off", "send"].filter(
    (method) => !isObject || typeof Reflect.get(client, method) !== "function",
  );
  if (missing.length === 0) return;
  throw new TypeError(
    "Expected `napcat` to be a NapCat connection, such as a NCWebsocket, " +
      // Never the value itself: an address may hold the token.
      `got ${isObject ? `an object without ${missing.join(", ")}` : `a ${typeof client}`}.`,
  );
}
