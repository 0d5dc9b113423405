// ModelScope. In: a model and a revision. Out: its files and what pins them. Its API says in the JSON what others say in
// the status, and gives an empty list for a revision that it does not have.

import { createHash } from "node:crypto";
import { z } from "zod";
import { PullError } from "../errors.ts";
import type { Hub, HubContext, ListedFile, Listing } from "./hub.ts";
import { HubSite, type HubSiteOptions } from "./hub-site.ts";
import type { JsonAnswer } from "./json-answer.ts";
import { checkListed } from "./listed-files.ts";
import { parseAs, readJson } from "./read-json.ts";
import { type Asked, refusal, revisionNotFound } from "./refusals.ts";

const FILE = z.looseObject({
  Type: z.string(),
  Path: z.string(),
  Size: z.number().optional(),
  Sha256: z.string().nullish(),
});
const FILES = z.looseObject({ Data: z.looseObject({ Files: z.array(FILE).nullable() }) });
const COMMITS = z.looseObject({
  Data: z.looseObject({
    Commit: z.array(z.looseObject({ Id: z.string().regex(/^[0-9a-f]{40}$/) })).min(1),
  }),
});
const ENVELOPE = z.looseObject({ Code: z.number() });

/** What the hub calls its default; `main` it does not know. */
const DEFAULT_REVISION = "master";

export class ModelScope extends HubSite implements Hub {
  readonly kind = "modelscope";

  constructor(options: HubSiteOptions) {
    // Older routes want the cookie.
    super(options, (token) => ({ cookie: `m_session_id=${token}` }));
  }

  async list(context: HubContext, model: string, revision?: string): Promise<Listing> {
    const wanted = revision === undefined || revision === "main" ? DEFAULT_REVISION : revision;
    const asked = this.#asked(model, revision);
    const route = `${this.base}/api/v1/models/${model}`;
    const commit = /^[0-9a-f]{40}$/.test(wanted)
      ? wanted
      : await this.#commit(context, `${route}/commits`, wanted, asked);
    const url = new URL(`${route}/repo/files`);
    url.search = new URLSearchParams({ Revision: wanted, Recursive: "True" }).toString();
    const { Files } = parseAs(FILES, await this.#ask(context, url, asked), this.host).Data;
    if (Files === null) throw revisionNotFound(asked);
    const files = checkListed(Files.filter(({ Type }) => Type === "blob").map(toFile), this.host);
    return { revision: commit ?? digestOf(files), ref: commit ?? wanted, otherRef: wanted, files };
  }

  fileUrl(model: string, revision: string, path: string): URL {
    const url = new URL(`${this.base}/api/v1/models/${model}/repo`);
    url.search = new URLSearchParams({ Revision: revision, FilePath: path }).toString();
    return url;
  }

  refusal(model: string, answer: JsonAnswer): PullError {
    return refusal(answer, this.#asked(model, undefined));
  }

  /** The commit at the tip of a branch; undefined where the hub does not tell. */
  async #commit(
    context: HubContext,
    route: string,
    branch: string,
    asked: Asked,
  ): Promise<string | undefined> {
    const url = new URL(route);
    url.search = new URLSearchParams({ Ref: branch, PageNumber: "1", PageSize: "1" }).toString();
    const answer = await this.#ask(context, url, asked, true).catch((error: unknown) => {
      // A route of its own, which may be out of order while files are served.
      if (error instanceof PullError && error.status !== undefined) return undefined;
      throw error;
    });
    return COMMITS.safeParse(answer?.json).data?.Data.Commit[0]?.Id;
  }

  async #ask(context: HubContext, url: URL, asked: Asked, optional = false): Promise<JsonAnswer> {
    const credentials = { origin: this.origin, headers: this.credentials };
    const answer = await readJson(context, url, { credentials, basePath: this.basePath });
    const code = ENVELOPE.safeParse(answer.json).data?.Code;
    const failed = answer.status >= 400 || (code !== undefined && code !== 200);
    if (failed && !optional) throw refusal(answer, asked);
    return failed ? { ...answer, json: undefined } : answer;
  }

  #asked(model: string, revision: string | undefined): Asked {
    const { host, credentials } = this;
    const page = `${this.base}/models/${model}`;
    return {
      model,
      revision,
      host,
      page,
      credentials,
      tokenVariable: "MODELSCOPE_API_TOKEN",
    };
  }
}

function toFile({ Path, Size, Sha256 }: z.infer<typeof FILE>): ListedFile {
  const sha256 = /^[0-9a-f]{64}$/i.test(Sha256 ?? "") ? Sha256?.toLowerCase() : undefined;
  return { path: Path, size: Size ?? Number.NaN, sha256 };
}

/** Names what was listed where no commit does. */
function digestOf(files: readonly ListedFile[]): string {
  const lines = files.map(({ path, size, sha256 }) => `${path} ${size} ${sha256 ?? ""}`);
  return createHash("sha1").update(lines.join("\n")).digest("hex");
}
