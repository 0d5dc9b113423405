// How a server answers the request to become a WebSocket. In: a WebSocket address. Out: an HTTP status, 101 for yes.
// It sends what a WebSocket would send and speaks no further; it shows nothing of the address.

import { randomBytes } from "node:crypto";
import http from "node:http";
import https from "node:https";

/** The status, or `undefined` where no answer came. */
export function upgradeStatus(address: URL, signal: AbortSignal): Promise<number | undefined> {
  const { request } = address.protocol === "wss:" ? https : http;
  const url = new URL(address);
  url.protocol = address.protocol === "wss:" ? "https:" : "http:";
  return new Promise((resolve) => {
    const asking = request(url, {
      signal,
      headers: {
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": randomBytes(16).toString("base64"),
      },
    });
    asking.once("response", (response) => {
      resolve(response.statusCode);
      response.destroy();
    });
    asking.once("upgrade", (_response, socket) => {
      resolve(101);
      socket.destroy();
    });
    asking.once("error", () => resolve(undefined));
    asking.end();
  });
}
