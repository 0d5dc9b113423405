// A server that plays Hugging Face and ModelScope, and a CDN on a port of its own, on this machine. In: the files of a
// model, and faults. Out: addresses, and what was asked. The shapes are those of the hubs: tree pages, redirects with the
// hash on them, signed links, envelopes with codes.

import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Exchange {
  readonly place: "list" | "resolve" | "cdn" | "small";
  /** File, where one is asked for. */
  readonly file: string;
  /** From 1, of this place and file. */
  readonly count: number;
  readonly url: URL;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The whole file; empty for lists. */
  readonly data: Buffer;
}

/** @returns true when it has answered */
export type Fault = (exchange: Exchange) => boolean;

export interface ModelHubOptions {
  readonly model?: string;
  readonly files: Readonly<Record<string, Buffer>>;
  /** Of a file from this size on the bytes come from the CDN. */
  readonly largeFrom?: number;
  /** How the CDN answers to ranges. */
  readonly ranges?: "206" | "200 with Content-Range" | "none";
  /** Entries of one page. */
  readonly pageSize?: number;
  /** Requests that a signed link is good for. */
  readonly linkUses?: number;
  /** Bytes a second of one answer of the CDN. */
  readonly bytesPerSecond?: number;
  readonly fault?: Fault;
}

export interface ModelHub {
  /** For HF_ENDPOINT and MODELSCOPE_ENDPOINT. */
  readonly url: string;
  readonly cdnUrl: string;
  readonly model: string;
  readonly commit: string;
  /** `place file range`, in order. */
  readonly asked: string[];
  /** Headers of each request, with the place. */
  readonly seen: { readonly place: string; readonly headers: IncomingMessage["headers"] }[];
  /** Bytes of bodies that left, by file. */
  readonly sent: Map<string, number>;
  fault: Fault | undefined;
  bytesPerSecond: number | undefined;
  /** Where in a file a line falls silent, and stays open: nobody who fetches it comes further. */
  holdAt: ((file: string) => number | undefined) | undefined;
  close(): Promise<void>;
}

export const sha256Of = (data: Buffer) => createHash("sha256").update(data).digest("hex");
const sha1Of = (data: Buffer) => createHash("sha1").update(data).digest("hex");
export const gitSha1Of = (data: Buffer) =>
  sha1Of(Buffer.concat([Buffer.from(`blob ${data.byteLength}\0`), data]));

export async function startModelHub(options: ModelHubOptions): Promise<ModelHub> {
  const played = new PlayedHub(options);
  await played.listen();
  return played;
}

/** Sends a file, or the part of it that is asked for, as told. */
export function sendPart(
  { request, response, data }: Exchange,
  ranges: ModelHubOptions["ranges"] = "206",
  most = Number.POSITIVE_INFINITY,
): void {
  const { start, end } = partOf(request, data.byteLength, ranges);
  const body = data.subarray(start, end);
  response.writeHead(statusOf(request, ranges), headersOf(request, data.byteLength, ranges));
  if (body.byteLength <= most) response.end(body);
  else response.write(body.subarray(0, most), () => response.socket?.destroy());
}

function partOf(request: IncomingMessage, size: number, ranges: ModelHubOptions["ranges"]) {
  const found = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  if (found === null || ranges === "none") return { start: 0, end: size };
  return { start: Number(found[1]), end: found[2] ? Math.min(Number(found[2]) + 1, size) : size };
}

function statusOf(request: IncomingMessage, ranges: ModelHubOptions["ranges"]): number {
  return request.headers.range !== undefined && (ranges ?? "206") === "206" ? 206 : 200;
}

function headersOf(request: IncomingMessage, size: number, ranges: ModelHubOptions["ranges"]) {
  const { start, end } = partOf(request, size, ranges);
  const isPart = request.headers.range !== undefined && ranges !== "none";
  return {
    "content-type": "application/octet-stream",
    "content-length": end - start,
    ...(isPart && { "content-range": `bytes ${start}-${end - 1}/${size}` }),
  };
}

class PlayedHub implements ModelHub {
  readonly model: string;
  readonly asked: string[] = [];
  readonly seen: ModelHub["seen"] = [];
  readonly sent = new Map<string, number>();
  readonly #options: ModelHubOptions;
  readonly #files: ReadonlyMap<string, Buffer>;
  readonly #counts = new Map<string, number>();
  readonly #uses = new Map<string, number>();
  readonly #known = new Map<string, { readonly sha256: string; readonly git: string }>();
  #commit: string | undefined;
  readonly #hub: Server;
  readonly #cdn: Server;
  fault: Fault | undefined;
  bytesPerSecond: number | undefined;
  holdAt: ModelHub["holdAt"];

  constructor(options: ModelHubOptions) {
    this.#options = options;
    this.model = options.model ?? "Test/Tiny";
    this.fault = options.fault;
    this.bytesPerSecond = options.bytesPerSecond;
    this.#files = new Map(Object.entries(options.files));
    this.#hub = createServer((request, response) => this.#answerHub(request, response));
    this.#cdn = createServer((request, response) => this.#answerCdn(request, response));
  }

  async listen(): Promise<void> {
    for (const server of [this.#hub, this.#cdn]) {
      server.listen(0, "127.0.0.1");
      await new Promise((resolve) => server.once("listening", resolve));
    }
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#hub.address() as AddressInfo).port}`;
  }

  get cdnUrl(): string {
    return `http://127.0.0.1:${(this.#cdn.address() as AddressInfo).port}`;
  }

  /** Follows from the files, so that another content is another commit. */
  get commit(): string {
    if (this.#commit === undefined) {
      const lines = [...this.#files].map(
        ([path, data]) => `${path} ${this.#hashes(path, data).git}`,
      );
      this.#commit = sha1Of(Buffer.from(lines.join("\n")));
    }
    return this.#commit;
  }

  #hashes(path: string, data: Buffer): { readonly sha256: string; readonly git: string } {
    const known = this.#known.get(path);
    if (known !== undefined) return known;
    const made = { sha256: sha256Of(data), git: gitSha1Of(data) };
    this.#known.set(path, made);
    return made;
  }

  async close(): Promise<void> {
    for (const server of [this.#hub, this.#cdn]) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  #answerHub(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? "", this.url);
    const path = decodeURIComponent(url.pathname);
    const exchange = (place: Exchange["place"], file: string) =>
      this.#enter(place, file, url, request, response);
    const name = this.model;
    if (path === `/api/v1/models/${name}/commits`) {
      const data = { Commit: [{ Id: this.commit }], TotalCount: 1 };
      if (!exchange("list", "commits")) envelope(response, data);
    } else if (path === `/api/v1/models/${name}/repo/files`) {
      const known = ["master", this.commit].includes(url.searchParams.get("Revision") ?? "");
      const data = { Files: known ? this.#modelScopeFiles() : null };
      if (!exchange("list", "files")) envelope(response, data);
    } else if (path === `/api/v1/models/${name}/repo`) {
      this.#sendOrRedirect(exchange, url.searchParams.get("FilePath") ?? "", response);
    } else if (path.startsWith(`/api/models/${name}/revision/`)) {
      const asked = path.slice(`/api/models/${name}/revision/`.length);
      if (exchange("list", "revision")) return;
      if (["main", this.commit].includes(asked)) json(response, 200, { sha: this.commit });
      else refuse(response, 404, "RevisionNotFound", `Invalid rev id: ${asked}`);
    } else if (path === `/api/models/${name}/tree/${this.commit}`) {
      if (!exchange("list", "tree")) this.#sendTree(url, response);
    } else if (path.startsWith(`/${name}/resolve/${this.commit}/`)) {
      const file = path.slice(`/${name}/resolve/${this.commit}/`.length);
      this.#sendOrRedirect(exchange, file, response);
    } else if (path.startsWith("/api/resolve-cache/")) {
      const file = path.slice("/api/resolve-cache/".length);
      const found = exchange("small", file);
      if (found) return;
      this.#send("small", file, url, request, response);
    } else {
      this.asked.push(`other ${path}`);
      refuse(response, 401, undefined, "Invalid username or password.");
    }
  }

  #sendTree(url: URL, response: ServerResponse): void {
    const { pageSize = 1000 } = this.#options;
    const first = Number(url.searchParams.get("cursor") ?? 0);
    const entries = [...this.#files].map(([path, data]) => {
      const large = this.#isLarge(data);
      return {
        type: "file",
        path,
        size: data.byteLength,
        oid: large ? sha1Of(Buffer.from(`pointer of ${path}`)) : this.#hashes(path, data).git,
        ...(large && {
          lfs: { oid: this.#hashes(path, data).sha256, size: data.byteLength, pointerSize: 135 },
        }),
      };
    });
    const next = first + pageSize;
    const more = next < entries.length;
    // Another origin, as mirrors give it.
    const link = `<https://huggingface.co${url.pathname}?recursive=true&expand=false&cursor=${next}>; rel="next"`;
    json(response, 200, entries.slice(first, next), more ? { link } : {});
  }

  #modelScopeFiles(): object[] {
    return [...this.#files].map(([path, data]) => ({
      Type: "blob",
      Path: path,
      Name: path,
      Size: data.byteLength,
      Sha256: this.#hashes(path, data).sha256,
      IsLFS: this.#isLarge(data),
    }));
  }

  #sendOrRedirect(
    exchange: (place: Exchange["place"], file: string) => boolean,
    file: string,
    response: ServerResponse,
  ): void {
    const data = this.#files.get(file);
    if (exchange("resolve", file)) return;
    if (data === undefined) {
      refuse(response, 404, "EntryNotFound", "Entry not found");
    } else if (this.#isLarge(data)) {
      const use = this.#uses.size + 1;
      this.#uses.set(String(use), 0);
      const location = `${this.cdnUrl}/${encodeURIComponent(file)}?Expires=1&Signature=s3cret${use}&use=${use}`;
      const linked = {
        "x-linked-size": data.byteLength,
        "x-linked-etag": `"${this.#hashes(file, data).sha256}"`,
      };
      response.writeHead(302, { location, "x-repo-commit": this.commit, ...linked }).end("Found");
    } else {
      response.writeHead(307, { location: `/api/resolve-cache/${file}?etag=1` }).end();
    }
  }

  #answerCdn(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? "", this.cdnUrl);
    const file = decodeURIComponent(url.pathname.slice(1));
    const use = url.searchParams.get("use") ?? "";
    const uses = (this.#uses.get(use) ?? 0) + 1;
    this.#uses.set(use, uses);
    if (this.#enter("cdn", file, url, request, response)) return;
    if (uses > (this.#options.linkUses ?? Number.POSITIVE_INFINITY)) {
      const body = "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>";
      response.writeHead(403, { "content-type": "application/xml" }).end(body);
      return;
    }
    this.#send("cdn", file, url, request, response);
  }

  #send(
    _place: string,
    file: string,
    _url: URL,
    request: IncomingMessage,
    response: ServerResponse,
  ): void {
    const data = this.#files.get(file) ?? Buffer.alloc(0);
    const { ranges = "206" } = this.#options;
    const { start, end } = partOf(request, data.byteLength, ranges);
    if (start >= data.byteLength) {
      response.writeHead(416, { "content-range": `bytes */${data.byteLength}` }).end();
      return;
    }
    response.writeHead(statusOf(request, ranges), headersOf(request, data.byteLength, ranges));
    const until = Math.max(start, Math.min(end, this.holdAt?.(file) ?? end));
    this.#pour(file, data.subarray(start, until), response, until === end);
  }

  /** At once, or a tenth of a second's share every tenth of a second. @param whole or the rest never comes */
  #pour(file: string, body: Buffer, response: ServerResponse, whole: boolean): void {
    const count = (bytes: number) => this.sent.set(file, (this.sent.get(file) ?? 0) + bytes);
    if (this.bytesPerSecond === undefined) {
      count(body.byteLength);
      if (whole) response.end(body);
      else response.write(body);
      return;
    }
    const step = Math.max(1, Math.floor(this.bytesPerSecond / 10));
    let at = 0;
    const timer = setInterval(() => {
      const piece = body.subarray(at, at + step);
      at += piece.byteLength;
      count(piece.byteLength);
      response.write(piece);
      if (at < body.byteLength) return;
      clearInterval(timer);
      if (whole) response.end();
    }, 100);
    response.on("close", () => clearInterval(timer));
  }

  #enter(
    place: Exchange["place"],
    file: string,
    url: URL,
    request: IncomingMessage,
    response: ServerResponse,
  ): boolean {
    const key = `${place} ${file}`;
    const count = (this.#counts.get(key) ?? 0) + 1;
    this.#counts.set(key, count);
    const range = request.headers.range?.replace("bytes=", " ") ?? "";
    this.asked.push(`${key}${place === "cdn" || place === "small" ? range : ""}`);
    this.seen.push({ place, headers: request.headers });
    const data = this.#files.get(file) ?? Buffer.alloc(0);
    return this.fault?.({ place, file, count, url, request, response, data }) ?? false;
  }

  #isLarge(data: Buffer): boolean {
    return data.byteLength >= (this.#options.largeFrom ?? 20_000);
  }
}

export function json(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify(body));
}

/** As Hugging Face refuses. */
export function refuse(
  response: ServerResponse,
  status: number,
  code: string | undefined,
  message: string,
): void {
  const headers = { "x-error-message": message, ...(code && { "x-error-code": code }) };
  json(response, status, { error: message }, headers);
}

/** As ModelScope answers. */
export function envelope(response: ServerResponse, data: object | null, code = 200): void {
  json(response, 200, {
    Code: code,
    Success: code === 200,
    Message: "",
    RequestId: "1",
    Data: data,
  });
}
