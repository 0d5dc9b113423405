// An answer on its way, as server-sent events. In: work that reports parts. Out: a response that streams them.
// Events of a chat: what the model streams (`reasoning-delta`, `text-delta`, `finish`), then `reply` with the JSON a plain
// request gets, or `error` with the JSON of an error. It knows nothing of chats.

const HEADERS = {
  "Content-Type": "text/event-stream; charset=utf-8",
  "Cache-Control": "no-cache, no-transform",
  "X-Accel-Buffering": "no",
};

/** What readers of events pass over. */
const KEEP_ALIVE = new TextEncoder().encode(": keep-alive\n\n");

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

/**
 * The same for events that are text, with or without a name.
 *
 * @param keepAliveMs a comment goes out whenever nothing else did for so long: proxies and clients give up a silent
 *   connection
 */
export function streamEvents(
  work: (send: (data: string, event?: string) => void) => Promise<void>,
  onCancel: (reason: unknown) => void,
  keepAliveMs?: number,
): Response {
  const encoder = new TextEncoder();
  let open = true;
  let silence: NodeJS.Timeout | undefined;
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const send = (data: string, event?: string) => {
        if (!open) return;
        const name = event === undefined ? "" : `event: ${event}\n`;
        controller.enqueue(encoder.encode(`${name}data: ${data}\n\n`));
        silence?.refresh();
      };
      if (keepAliveMs !== undefined) {
        silence = setInterval(() => controller.enqueue(KEEP_ALIVE), keepAliveMs).unref();
      }
      const end = () => {
        clearInterval(silence);
        if (!open) return;
        open = false;
        controller.close();
      };
      // Not returned: `start` would hold back the stream until the work has ended.
      work(send).then(end, end);
    },
    cancel(reason) {
      open = false;
      clearInterval(silence);
      onCancel(reason);
    },
  });
  return new Response(body, { headers: HEADERS });
}
