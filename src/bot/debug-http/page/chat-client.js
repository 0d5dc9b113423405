// Talks to the debug adapter. In: messages. Out: events of an answer, in order. It knows nothing of the page.

/** An answer that is an error: its code, and a sentence to show. */
export class ChatError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

// It stays in the address bar: a reload needs it again, and the page sends no Referer.
const token = new URL(location.href).searchParams.get("token");

function headers(more) {
  return token === null ? more : { ...more, Authorization: `Bearer ${token}` };
}

/** The JSON of a GET, whatever its status. */
export async function getJson(path) {
  const response = await fetch(path, { headers: headers({}) });
  return response.json();
}

/** POSTs without a body. Throws a ChatError for what the server refuses. */
export async function postEmpty(path) {
  await post(path, {}, undefined, "application/json");
}

/** Makes the bot forget a chat. */
export async function resetChat(chat) {
  const response = await post("/api/chat/reset", chat, undefined, "application/json");
  await response.json();
}

/**
 * Sends a message. Yields `{ event, data }` in order: `reasoning-delta`, `text-delta`, `finish`, `reply`.
 * Throws a ChatError for what the server refuses; aborting the signal stops the bot too.
 */
export async function* sendMessage(message, signal) {
  const response = await post(`/api/chat/${message.type}`, message, signal, "text/event-stream");
  if (!response.headers.get("content-type")?.startsWith("text/event-stream")) {
    yield { event: "reply", data: await response.json() };
    return;
  }
  for await (const { event, data } of readEvents(response.body)) {
    if (event === "error") throw new ChatError(data.error.code, data.error.message);
    yield { event, data };
  }
}

async function post(path, body, signal, accept) {
  const response = await fetch(path, {
    method: "POST",
    headers: headers({ "Content-Type": "application/json", Accept: accept }),
    body: JSON.stringify(body),
    signal,
  });
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({}));
  throw new ChatError(
    error?.code ?? `http-${response.status}`,
    error?.message ?? response.statusText,
  );
}

/** Server-sent events of a body; the server writes one `data` line each. */
async function* readEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    buffer += value;
    const blocks = buffer.split("\n\n");
    buffer = blocks.pop();
    for (const block of blocks) yield parseEvent(block);
  }
}

function parseEvent(block) {
  const lines = block.split("\n");
  const field = (name) =>
    lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
  return { event: field("event"), data: JSON.parse(field("data")) };
}
