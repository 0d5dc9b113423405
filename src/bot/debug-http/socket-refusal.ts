// A refusal written to a socket by hand, where no route answers. In: a socket and a status. Out: JSON on it, and its end.

import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";

/** The connection is over then, whatever its client still sends. */
export function refuseSocket(socket: Socket, status: number, code = "bad-request"): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const message = STATUS_CODES[status] ?? "";
  const body = JSON.stringify({ status: "error", error: { code, message } });
  socket.end(
    `HTTP/1.1 ${status} ${message}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n` +
      `Connection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}
