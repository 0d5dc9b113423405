// Hugging Face, and mirrors that speak like it. In: a model and a revision. Out: its commit and files. The list is asked
// for once, by commit; addresses of later pages never lead to another host.

import { z } from "zod";
import { PullError } from "../errors.ts";
import type { Hub, HubContext, ListedFile, Listing } from "./hub.ts";
import { HubSite } from "./hub-site.ts";
import type { JsonAnswer } from "./json-answer.ts";
import { checkListed } from "./listed-files.ts";
import { parseAs, readJson } from "./read-json.ts";
import { type Asked, refusal } from "./refusals.ts";

const MODEL = z.looseObject({ sha: z.string().regex(/^[0-9a-f]{40}$/) });

const ENTRY = z.looseObject({
  type: z.string(),
  path: z.string(),
  size: z.number().optional(),
  oid: z
    .string()
    .regex(/^[0-9a-f]{40}$/)
    .optional(),
  lfs: z.looseObject({ oid: z.string().regex(/^[0-9a-f]{64}$/), size: z.number() }).nullish(),
});

const SIBLINGS = z.looseObject({
  siblings: z.array(
    z.looseObject({
      rfilename: z.string(),
      size: z.number().nullish(),
      blobId: z
        .string()
        .regex(/^[0-9a-f]{40}$/)
        .optional(),
      lfs: z
        .looseObject({ sha256: z.string().regex(/^[0-9a-f]{64}$/), size: z.number() })
        .nullish(),
    }),
  ),
});

const MOST_PAGES = 100;

export class HuggingFace extends HubSite implements Hub {
  readonly kind = "hf";

  async list(context: HubContext, model: string, revision = "main"): Promise<Listing> {
    const asked = this.#asked(model, revision);
    const route = `${this.base}/api/models/${model}`;
    const answer = await this.#ask(
      context,
      new URL(`${route}/revision/${encodeURIComponent(revision)}`),
      asked,
    );
    const { sha } = parseAs(MODEL, answer, this.host);
    const files =
      (await this.#tree(context, route, sha, asked)) ??
      (await this.#siblings(context, route, sha, asked));
    return { revision: sha, ref: sha, files: checkListed(files, this.host) };
  }

  /** undefined where a mirror has no such list. */
  async #tree(
    context: HubContext,
    route: string,
    sha: string,
    asked: Asked,
  ): Promise<ListedFile[] | undefined> {
    const files: ListedFile[] = [];
    let next: URL | undefined = new URL(`${route}/tree/${sha}?recursive=true&expand=false`);
    for (let page = 0; next !== undefined; page++) {
      if (page === MOST_PAGES) throw noEnd(this.host);
      const listed: JsonAnswer = await this.#askFor(context, next);
      if (listed.status === 404 && page === 0) return undefined;
      if (listed.status >= 400) throw refusal(listed, asked);
      for (const entry of parseAs(z.array(ENTRY), listed, this.host)) {
        if (entry.type === "file") files.push(toFile(entry));
      }
      next = this.#nextPage(listed, next);
    }
    return files;
  }

  /** The older list, with the same facts under other names. */
  async #siblings(
    context: HubContext,
    route: string,
    sha: string,
    asked: Asked,
  ): Promise<ListedFile[]> {
    const url = new URL(`${route}/revision/${sha}?blobs=true`);
    const { siblings } = parseAs(SIBLINGS, await this.#ask(context, url, asked), this.host);
    return siblings.map(({ rfilename, size, blobId, lfs }) =>
      lfs
        ? { path: rfilename, size: lfs.size, sha256: lfs.sha256 }
        : { path: rfilename, size: size ?? Number.NaN, gitSha1: blobId },
    );
  }

  fileUrl(model: string, revision: string, path: string): URL {
    const parts = path.split("/").map(encodeURIComponent);
    return new URL(`${this.base}/${model}/resolve/${revision}/${parts.join("/")}`);
  }

  refusal(model: string, answer: JsonAnswer): PullError {
    return refusal(answer, this.#asked(model, undefined));
  }

  async #ask(context: HubContext, url: URL, asked: Asked): Promise<JsonAnswer> {
    const answer = await this.#askFor(context, url);
    if (answer.status >= 400) throw refusal(answer, asked);
    return answer;
  }

  #askFor(context: HubContext, url: URL): Promise<JsonAnswer> {
    const credentials = { origin: this.origin, headers: this.credentials };
    return readJson(context, url, { credentials, basePath: this.basePath });
  }

  /** Mirrors pass on the hub's own addresses: only the query is believed, on the host that was asked. */
  #nextPage({ headers }: JsonAnswer, page: URL): URL | undefined {
    const found = /<([^>]+)>\s*;\s*rel="?next"?/.exec(headers.link ?? "")?.[1];
    if (found === undefined || !URL.canParse(found, page.href)) return undefined;
    const next = new URL(page);
    next.search = new URL(found, page).search;
    if (next.search === page.search) throw noEnd(this.host);
    return next;
  }

  #asked(model: string, revision: string | undefined): Asked {
    const { host, credentials } = this;
    const page = `${this.base}/${model}`;
    return { model, revision, host, page, credentials, tokenVariable: "HF_TOKEN" };
  }
}

/** The name of an LFS file is that of its pointer: only the hash inside counts. */
function toFile({ path, size, oid, lfs }: z.infer<typeof ENTRY>): ListedFile {
  if (lfs) return { path, size: lfs.size, sha256: lfs.oid };
  return { path, size: size ?? Number.NaN, gitSha1: oid };
}

function noEnd(host: string): PullError {
  return new PullError("hub-answer", `The list of files from ${host} does not end.`, { host });
}
