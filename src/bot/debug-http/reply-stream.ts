// An answer on its way, as server-sent events. In: work that reports parts. Out: a response that streams them.
// Events of a chat: what the model streams (`reasoning-delta`, `text-delta`, `finish`), then `reply` with the JSON a plain
// request gets, or `error` with the JSON of an error. It knows nothing of chats.

const HEADERS = {
  "Content-Type": "text/event-stream; charset=utf-8",
  "Cache-Control": "no-cache, no-transform",
  "X-Accel-Buffering": "no",
};

export type SendEvent = (event: string, data: object) => void;

/**
 * Runs the work and streams what it sends, each with its name. `onCancel` is called when the client is gone before the
 * end. The work deals with its own errors: it has the only way to tell the client.
 */
export function streamReply(
  work: (send: SendEvent) => Promise<void>,
  onCancel: (reason: unknown) => void,
): Response {
  return streamEvents((send) => work((event, data) => send(JSON.stringify(data), event)), onCancel);
}

/** The same for events that are text, with or without a name. */
export function streamEvents(
  work: (send: (data: string, event?: string) => void) => Promise<void>,
  onCancel: (reason: unknown) => void,
): Response {
  const encoder = new TextEncoder();
  let open = true;
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const send = (data: string, event?: string) => {
        if (!open) return;
        const name = event === undefined ? "" : `event: ${event}\n`;
        controller.enqueue(encoder.encode(`${name}data: ${data}\n\n`));
      };
      const end = () => {
        if (!open) return;
        open = false;
        controller.close();
      };
      // Not returned: `start` would hold back the stream until the work has ended.
      work(send).then(end, end);
    },
    cancel(reason) {
      open = false;
      onCancel(reason);
    },
  });
  return new Response(body, { headers: HEADERS });
}
