// OpenAI's interface of the debug adapter, over a model that answers from a script. In: the script and options of the
// adapter. Out: the server, the real client of OpenAI, and a way to post by hand.

import OpenAI from "openai";
import { Responder } from "../../src/bot/chat/responder.ts";
import { type DebugServerOptions, startDebugServer } from "../../src/bot/debug-http/server.ts";
import {
  FakeVisionLanguageModel,
  type FakeVisionLanguageModelOptions,
} from "../../src/vlm/testing.ts";
import { PIXEL_PNG } from "./events.ts";

export const PIXEL = Buffer.from(PIXEL_PNG).toString("base64");
export const PIXEL_URI = `data:image/png;base64,${PIXEL}`;

export const question = { model: "eyes", messages: [{ role: "user" as const, content: "?" }] };

const open: { close(): Promise<void> }[] = [];

export async function openDoor(
  fake: FakeVisionLanguageModelOptions = {},
  options: Partial<DebugServerOptions> = {},
) {
  const model = new FakeVisionLanguageModel({ info: { name: "eyes" }, ...fake });
  const responder = new Responder({ model });
  const server = await startDebugServer({ responder, model, port: 0, ...options });
  open.push(server);
  const apiKey = options.token ?? "unused";
  const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey, maxRetries: 0 });
  const post = (body: unknown, headers: Record<string, string> = {}) =>
    fetch(`${server.url}/v1/chat/completions`, {
      method: "POST",
      body: typeof body === "string" ? body : JSON.stringify(body),
      headers,
    });
  return { model, server, client, post };
}

/** For `afterEach`. */
export async function closeDoors(): Promise<void> {
  await Promise.all(open.splice(0).map((server) => server.close()));
}

/** The error in the body of a refusal, which nothing else is in. */
export async function errorOf(response: Response): Promise<Record<string, unknown>> {
  const body = (await response.json()) as { readonly error: Record<string, unknown> };
  return { status: response.status, ...body.error };
}
