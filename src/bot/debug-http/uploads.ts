// Requests whose bodies are still coming. In: each request when it begins. Out: a place, when all are taken: the slowest
// upload gives its own up. It knows nothing of what is asked.

import type { IncomingMessage } from "node:http";
import { refuseSocket } from "./socket-refusal.ts";

interface Upload {
  readonly incoming: IncomingMessage;
  readonly beganAt: number;
  /** Of its connection, in front of it. */
  readonly bytesBefore: number;
}

/** Nobody is called slow before. */
const GRACE_MS = 5_000;
/** In bytes a second; a telephone in a train is faster. */
const SLOW = 16 * 1024;

export class Uploads {
  readonly #uploads = new Set<Upload>();

  /** @returns call it when the request is over */
  begin(incoming: IncomingMessage): () => void {
    const { bytesRead } = incoming.socket;
    const upload = { incoming, beganAt: performance.now(), bytesBefore: bytesRead };
    this.#uploads.add(upload);
    return () => this.#uploads.delete(upload);
  }

  /** Ends the slowest upload, if there is a slow one: whoever sends nothing must not keep others out. */
  endSlowest(): boolean {
    const now = performance.now();
    const slow = [...this.#uploads]
      .filter(({ incoming, beganAt }) => !incoming.complete && now - beganAt >= GRACE_MS)
      .map((upload) => ({ upload, rate: rateOf(upload, now) }))
      .filter(({ rate }) => rate < SLOW)
      .toSorted((a, b) => a.rate - b.rate)[0]?.upload;
    if (!slow) return false;
    this.#uploads.delete(slow);
    refuseSocket(slow.incoming.socket, 408, "too-slow");
    return true;
  }
}

function rateOf({ incoming, beganAt, bytesBefore }: Upload, now: number): number {
  return (1000 * (incoming.socket.bytesRead - bytesBefore)) / (now - beganAt);
}
