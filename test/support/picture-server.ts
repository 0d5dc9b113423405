// A web server for pictures on the loopback: each path answers as its handler says, every request is counted.

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export type PictureHandler = (request: IncomingMessage, response: ServerResponse) => void;

export interface PictureServer {
  readonly host: string;
  /** Paths that were asked for, in order. */
  readonly requests: string[];
  /** Connections that are open right now. */
  openConnections(): Promise<number>;
  url(path: string): string;
  close(): Promise<void>;
}

/** @param otherwise answers paths without a handler; left out, they are 404 */
export async function startPictureServer(
  handlers: Readonly<Record<string, PictureHandler | Uint8Array>>,
  otherwise?: PictureHandler | Uint8Array,
): Promise<PictureServer> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    const path = request.url ?? "/";
    requests.push(path);
    const handler = handlers[path] ?? otherwise;
    if (handler === undefined) response.writeHead(404).end();
    else if (handler instanceof Uint8Array) response.end(handler);
    else handler(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    host,
    requests,
    openConnections: () =>
      new Promise((resolve, reject) =>
        server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
      ),
    url: (path) => `http://${host}${path}`,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

/** What QQ answers for a link whose key is too old. */
export const expired: PictureHandler = (_request, response) => {
  response.writeHead(400, { "content-type": "application/json" });
  response.end('{"retcode":-5503007,"retmsg":"download url has expired","retryflag":0}');
};
