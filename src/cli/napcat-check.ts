// Can NapCat be reached, and does it accept the token? In: an address. Out: who is logged in, or why not.
// One connection, two questions, no library: the exact reason of a refusal matters here. It never shows the token.

import { WebSocket } from "undici";
import { z } from "zod";
import { upgradeStatus } from "./upgrade-status.ts";

const answer = z.object({
  status: z.string(),
  retcode: z.number(),
  echo: z.unknown(),
  data: z.unknown(),
});
const login = z.object({ user_id: z.number(), nickname: z.string() });
const groupList = z.array(z.object({ group_id: z.number(), group_name: z.string() }));
const version = z.object({ app_name: z.string(), app_version: z.string() });

/** NapCat answers this when the token is wrong, after it has accepted the connection. */
const WRONG_TOKEN = 1403;
/** Other servers close the socket with one of these, or do not let it open and answer with one of those. */
const WRONG_TOKEN_CLOSE = [1008, 4001];
const WRONG_TOKEN_STATUS = [401, 403];

export interface NapCatIdentity {
  readonly selfId: string;
  readonly app: string;
  /** Those the account is in, where they were asked for and told. */
  readonly groups: readonly KnownGroup[];
}

export interface KnownGroup {
  readonly id: string;
  readonly name: string;
}

/** Why NapCat did not answer. */
export type NapCatProblem = "unreachable" | "wrong-token" | "no-answer" | "not-napcat";

export class NapCatCheckError extends Error {
  override readonly name = "NapCatCheckError";
  readonly problem: NapCatProblem;

  constructor(problem: NapCatProblem) {
    super(problem);
    this.problem = problem;
  }
}

/**
 * Asks NapCat who it is.
 *
 * @throws {NapCatCheckError} with the reason; `signal.reason` when aborted.
 */
export async function askNapCat(
  url: string,
  token: string | undefined,
  options: {
    readonly timeoutMs: number;
    readonly signal: AbortSignal;
    /** Ask for the groups too. @default false */
    readonly withGroups?: boolean;
  },
): Promise<NapCatIdentity> {
  // In the address, where the bot sends it too: a header would take only some of the characters of a token.
  const address = new URL(url);
  if (token !== undefined) address.searchParams.set("access_token", token);
  const socket = new WebSocket(address);
  let giveUp: (reason: unknown) => void = () => {};
  const failed = new Promise<never>((_resolve, reject) => {
    giveUp = reject;
  });
  const timer = setTimeout(() => giveUp(new NapCatCheckError("no-answer")), options.timeoutMs);
  const onAbort = () => giveUp(options.signal.reason);
  options.signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([converse(socket, options.withGroups === true), failed]);
  } catch (error) {
    // A WebSocket does not tell with which status it was refused.
    if (!(error instanceof NapCatCheckError) || error.problem !== "unreachable") throw error;
    const status = await Promise.race([upgradeStatus(address, options.signal), failed]);
    if (!WRONG_TOKEN_STATUS.includes(status ?? 0)) throw error;
    throw new NapCatCheckError("wrong-token");
  } finally {
    clearTimeout(timer);
    options.signal.removeEventListener("abort", onAbort);
    // A socket that is still connecting complains when it is closed; nobody listens any more.
    socket.close();
  }
}

function converse(socket: WebSocket, withGroups: boolean): Promise<NapCatIdentity> {
  return new Promise((resolve, reject) => {
    let opened = false;
    let selfId: string | undefined;
    let app = "OneBot";
    const fail = (problem: NapCatProblem) => reject(new NapCatCheckError(problem));
    const ask = (action: string) =>
      socket.send(JSON.stringify({ action, params: {}, echo: action }));

    socket.addEventListener("open", () => {
      opened = true;
      ask("get_login_info");
    });
    // An error is followed by this too, which knows more.
    socket.addEventListener("close", ({ code }) => {
      if (WRONG_TOKEN_CLOSE.includes(code)) fail("wrong-token");
      else fail(opened ? "no-answer" : "unreachable");
    });
    socket.addEventListener("error", () => {});
    socket.addEventListener("message", ({ data }) => {
      const frame = parseFrame(data);
      if (frame === undefined) return;
      if (frame.retcode === WRONG_TOKEN) return fail("wrong-token");
      if (frame.echo === "get_login_info") {
        const found = login.safeParse(frame.data);
        if (!found.success) return fail("not-napcat");
        selfId = String(found.data.user_id);
        ask("get_version_info");
      } else if (frame.echo === "get_version_info" && selfId !== undefined) {
        const found = version.safeParse(frame.data);
        if (found.success) app = `${found.data.app_name} ${found.data.app_version}`;
        if (!withGroups) return resolve({ selfId, app, groups: [] });
        ask("get_group_list");
      } else if (frame.echo === "get_group_list" && selfId !== undefined) {
        const groups = (groupList.safeParse(frame.data).data ?? []).map(
          ({ group_id, group_name }) => ({ id: String(group_id), name: group_name }),
        );
        resolve({ selfId, app, groups });
      }
    });
  });
}

/** An answer; `undefined` for events, which arrive on the same connection. */
function parseFrame(data: unknown): z.infer<typeof answer> | undefined {
  if (typeof data !== "string") return undefined;
  try {
    return answer.safeParse(JSON.parse(data)).data;
  } catch {
    return undefined;
  }
}
