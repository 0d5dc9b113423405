// A server of OpenAI's interface that answers with what a real one once answered. In: recorded exchanges, or the address of
// the real one, to record them again. Out: an address. A request that nobody recorded is an error, so what is sent is
// checked with every answer.

import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

interface Exchange {
  readonly path: string;
  readonly request: unknown;
  readonly status: number;
  readonly contentType: string;
  /** As it came; of an event stream, one entry for each event. */
  readonly body: readonly string[];
}

interface Recording {
  /** Name and version of what answered. */
  readonly server: string;
  readonly exchanges: readonly Exchange[];
}

export class RecordedServer {
  readonly #file: URL;
  readonly #live: string | undefined;
  readonly #recorded: Exchange[] = [];
  #recording: Recording = { server: "", exchanges: [] };
  readonly #server = createServer(async (request, response) => {
    try {
      await this.#answer(request, response);
    } catch (error) {
      response.destroy(error as Error);
    }
  });

  /** @param live address of the real server, ending in /v1: then its answers are written into the file */
  constructor(file: URL, live?: string) {
    this.#file = file;
    this.#live = live;
  }

  async listen(): Promise<string> {
    if (this.#live === undefined) {
      this.#recording = JSON.parse(await readFile(this.#file, "utf8")) as Recording;
    }
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
    if (this.#live === undefined) return;
    const server = process.env.RECORD_NAME ?? "unknown";
    const recording: Recording = { server, exchanges: this.#recorded };
    await writeFile(this.#file, `${JSON.stringify(recording, null, 2)}\n`);
  }

  async #answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = "";
    for await (const chunk of incoming) text += String(chunk);
    const path = (incoming.url ?? "").replace(/^\/v1/u, "");
    const request: unknown = text === "" ? null : JSON.parse(text);
    const exchange = this.#live
      ? await this.#ask(this.#live, path, request)
      : this.#find(path, request);
    response.writeHead(exchange.status, { "content-type": exchange.contentType });
    response.end(exchange.body.join(""));
  }

  #find(path: string, request: unknown): Exchange {
    const found = this.#recording.exchanges.find(
      (exchange) =>
        exchange.path === path && JSON.stringify(exchange.request) === JSON.stringify(request),
    );
    if (!found) throw new Error(`Nothing was recorded for ${path}: ${JSON.stringify(request)}`);
    return found;
  }

  async #ask(live: string, path: string, request: unknown): Promise<Exchange> {
    const answer = await fetch(`${live}${path}`, {
      method: request === null ? "GET" : "POST",
      ...(request === null ? {} : { body: JSON.stringify(request) }),
      headers: { "content-type": "application/json" },
    });
    const contentType = answer.headers.get("content-type") ?? "";
    const body = (await answer.text()).split(/(?<=\n\n)/u);
    const exchange = { path, request, status: answer.status, contentType, body };
    this.#recorded.push(exchange);
    return exchange;
  }
}
