// A server of OpenAI's interface that answers as a test tells it, well or badly. In: what to write for each request.
// Out: its address, what it was asked, and who hung up before the end.

import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setImmediate } from "node:timers/promises";

export interface Asked {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: { readonly [field: string]: unknown };
  /** The client was gone before the answer was whole. */
  hungUp: boolean;
}

export type Write = (response: ServerResponse, asked: Asked) => unknown;

export class ChatServer {
  readonly asked: Asked[] = [];
  readonly #writes: Write | readonly Write[];
  readonly #models: unknown;
  readonly #server = createServer(async (request, response) => {
    let text = "";
    for await (const chunk of request) text += String(chunk);
    if (request.url?.endsWith("/models")) {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify(this.#models));
      return;
    }
    const asked: Asked = {
      path: request.url ?? "",
      headers: request.headers,
      body: text === "" ? {} : JSON.parse(text),
      hungUp: false,
    };
    response.on("close", () => {
      asked.hungUp = !response.writableFinished;
    });
    const index = this.asked.push(asked) - 1;
    const writes = this.#writes;
    const write = typeof writes === "function" ? writes : (writes[index] ?? writes.at(-1));
    await write?.(response, asked);
  });

  /** @param writes one for every request, the last one for all that follow; or one for all */
  constructor(
    writes: Write | readonly Write[],
    models: unknown = { object: "list", data: [{ id: "eyes", object: "model" }] },
  ) {
    this.#writes = writes;
    this.#models = models;
  }

  async listen(): Promise<this> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return this;
  }

  get baseURL(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}

/** A chunk with one delta. */
export function chunk(delta: object | null, finishReason: string | null = null): object {
  return {
    id: "chatcmpl-1",
    object: "chat.completion.chunk",
    choices: [{ index: 0, delta, finish_reason: finishReason }],
  };
}

export const USAGE = {
  choices: [],
  usage: {
    prompt_tokens: 30,
    completion_tokens: 5,
    total_tokens: 35,
    prompt_tokens_details: { cached_tokens: 16 },
  },
};

/** Events as they should be, `[DONE]` at the end. */
export function events(...chunks: readonly object[]): Write {
  return rawEvents([
    ...chunks.map((data) => `data: ${JSON.stringify(data)}\n\n`),
    "data: [DONE]\n\n",
  ]);
}

/** Text of an event stream as it is, one write for each piece. */
export function rawEvents(pieces: readonly string[], contentType = "text/event-stream"): Write {
  return async (response) => {
    response.writeHead(200, { "content-type": contentType });
    for (const piece of pieces) {
      response.write(piece);
      await setImmediate();
    }
    response.end();
  };
}

/** A plain text answer. */
export function says(...texts: readonly string[]): Write {
  return events(
    chunk({ role: "assistant", content: "" }),
    ...texts.map((content) => chunk({ content })),
    chunk({}, "stop"),
    USAGE,
  );
}

/** An error, or anything else in one piece. */
export function replies(
  status: number,
  body: string | object,
  headers: Readonly<Record<string, string>> = {},
): Write {
  return (response) => {
    const isText = typeof body === "string";
    response.writeHead(status, {
      "content-type": isText ? "text/html" : "application/json",
      ...headers,
    });
    response.end(isText ? body : JSON.stringify(body));
  };
}

/** Begins to answer, and goes on until nobody listens. */
export function endless(text = "啊"): Write {
  return async (response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    while (!response.destroyed) {
      response.write(`data: ${JSON.stringify(chunk({ content: text }))}\n\n`);
      await setImmediate();
    }
  };
}

/** Takes the question and says nothing. */
export const silent: Write = () => {};

/** The connection ends without a word, or behind some events. */
export function hangsUp(...chunks: readonly object[]): Write {
  return async (response) => {
    if (chunks.length === 0) {
      response.destroy();
      return;
    }
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (const data of chunks) response.write(`data: ${JSON.stringify(data)}\n\n`);
    await setImmediate();
    response.destroy();
  };
}
