// A server of files that breaks off, redirects and resumes as it is told to. In: an answer for each request. Out: its
// address, and what was asked of it.

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export type Answer = (request: IncomingMessage, response: ServerResponse, count: number) => void;

export interface FileServer {
  readonly url: string;
  /** Path and range of each request, such as `/a 10-`. */
  readonly asked: string[];
  close(): Promise<void>;
}

export async function startFileServer(answer: Answer): Promise<FileServer> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const range = request.headers.range?.replace("bytes=", " ") ?? "";
    asked.push(`${request.url}${range}`);
    answer(request, response, asked.length);
  });
  server.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

/** Sends a file, or the end of it when a range of it is asked for; breaks off after `most` bytes. */
export function sendFile(
  request: IncomingMessage,
  response: ServerResponse,
  data: Buffer,
  options: { readonly most?: number; readonly headers?: Readonly<Record<string, string>> } = {},
): void {
  const { most = Number.POSITIVE_INFINITY, headers = {} } = options;
  const etag = headers.etag ?? '"one"';
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
  const goesOn = start > 0 && request.headers["if-range"] === etag;
  const body = goesOn ? data.subarray(start) : data;
  response.writeHead(goesOn ? 206 : 200, {
    etag,
    "content-length": body.byteLength,
    ...(goesOn && { "content-range": `bytes ${start}-${data.byteLength - 1}/${data.byteLength}` }),
    ...headers,
  });
  if (body.byteLength <= most) response.end(body);
  else response.write(body.subarray(0, most), () => response.socket?.destroy());
}
