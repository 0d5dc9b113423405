// A model hub as the rest of a pull sees it: types only. Two of them exist, `hugging-face.ts` and `model-scope.ts`.

import type { PullError } from "../errors.ts";
import type { HttpClient } from "./http-client.ts";
import type { JsonAnswer } from "./json-answer.ts";
import type { Reach } from "./reach.ts";
import type { Pace, Waiting } from "./tries.ts";

export type HubKind = "hf" | "modelscope";

/** What a file must hash to, in hexadecimal, as far as the hub says. */
export interface FileHash {
  readonly sha256?: string | undefined;
  /** `sha1("blob <length>\0" + bytes)`, as git names small files. */
  readonly gitSha1?: string | undefined;
}

export interface ListedFile extends FileHash {
  /** Path in the repository, with slashes. */
  readonly path: string;
  readonly size: number;
}

/** What a model consists of at one moment; nothing fetched later is of another. */
export interface Listing {
  /** Commit; where a hub tells none, a digest of all names and hashes, as 40 hexadecimal digits. */
  readonly revision: string;
  /** What files are asked for by: the commit, or the branch where there is none. */
  readonly ref: string;
  /** Where a hub lists by a commit and does not serve by it; the hashes hold all the same. */
  readonly otherRef?: string | undefined;
  /** Files at the top of the repository, and graphs in folders, by path. */
  readonly files: readonly ListedFile[];
}

export interface Hub {
  readonly kind: HubKind;
  /** The same for everything that is fetched from it: host and port. */
  readonly host: string;
  readonly origin: string;
  /** What all its addresses begin with behind the host, such as `/hf`; mostly empty. */
  readonly basePath: string;
  /** Sent to `origin` only. */
  readonly credentials: Readonly<Record<string, string>>;
  /** @param revision a branch, a tag or a commit; undefined: what the hub has as its default */
  list(context: HubContext, model: string, revision: string | undefined): Promise<Listing>;
  fileUrl(model: string, ref: string, path: string): URL;
  /** What it means that a file is refused, with a status from 400 on. */
  refusal(model: string, answer: JsonAnswer): PullError;
}

/** What requests are made with. */
export interface HubContext {
  readonly client: HttpClient;
  /** Name and version of this program: some CDNs refuse nobody's requests. */
  readonly headers: Readonly<Record<string, string>>;
  readonly reach: Reach;
  readonly pace: Pace;
  readonly signal: AbortSignal;
  readonly onWait: (waiting: Waiting) => void;
}
