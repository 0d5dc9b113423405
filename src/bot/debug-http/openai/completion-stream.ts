// A completion that is streamed. In: the parts of an answer. Out: a response, or the error of a response.
// What fails before the answer begins has the status of its error, because that is what clients act on.

import { type Deadline, settledWithin } from "../../../abort.ts";
import { asRefusal, type OpenRequests } from "../open-requests.ts";
import { streamEvents } from "../reply-stream.ts";
import type { ChoicePart } from "./choices.ts";
import type { Completion } from "./completion-body.ts";
import { toOpenAiError } from "./openai-error.ts";

export interface StreamedCompletion {
  readonly parts: AsyncIterable<ChoicePart>;
  /** How many answers it has. @default 1 */
  readonly count?: number;
  readonly completion: Completion;
  /** Ended with the stream. */
  readonly request: Deadline;
  readonly requests: OpenRequests;
  /** Told of every error that its client did not cause. */
  readonly onError: (error: unknown) => void;
}

/** So long a client waits for a status; then the stream begins, though nothing of the answer is there. */
const STATUS_WITHIN_MS = 10_000;
/** Well below what proxies allow. */
const KEEP_ALIVE_MS = 15_000;

/** @throws {RequestError} what failed before the answer began */
export async function streamCompletion(options: StreamedCompletion): Promise<Response> {
  const { completion, request, requests, onError } = options;
  const parts = options.parts[Symbol.asyncIterator]();
  const first = requests.track(parts.next());
  try {
    await settledWithin(first, STATUS_WITHIN_MS);
  } catch (error) {
    request.end();
    throw asRefusal(error, request);
  }
  return streamEvents(
    async (send) => {
      const sendAll = (chunks: readonly object[]) => {
        for (const chunk of chunks) send(JSON.stringify(chunk));
      };
      const work = async () => {
        const numbers = Array.from({ length: options.count ?? 1 }, (_, index) => index);
        sendAll(numbers.map((index) => completion.start(index)));
        for (let next = await first; !next.done; next = await parts.next()) {
          sendAll(completion.chunks(next.value));
        }
        sendAll(completion.end());
        send("[DONE]");
      };
      try {
        await requests.track(work());
      } catch (error) {
        const refusal = asRefusal(error, request);
        if (refusal.cause !== undefined) onError(refusal.cause);
        send(JSON.stringify(toOpenAiError(refusal).body));
      } finally {
        request.end();
      }
    },
    (reason) => request.abort(reason),
    KEEP_ALIVE_MS,
  );
}
