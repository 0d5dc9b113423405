// One file of a model, whatever happens on the way. In: where it is, and what it must hash to. Out: the whole file under
// its name, or an error with what came kept for the next run. Several connections where the server knows ranges; a
// signed link that expires is asked for again.

import type { Readable } from "node:stream";
import { startDeadline } from "../../abort.ts";
import { PullError } from "../errors.ts";
import { answeredBytes } from "./answered-bytes.ts";
import { runAtOnce } from "./at-once.ts";
import { type ByteRange, cutIntoPieces } from "./byte-ranges.ts";
import { drop, type HttpAnswer } from "./http-client.ts";
import type { HubContext, ListedFile } from "./hub.ts";
import type { JsonAnswer } from "./json-answer.ts";
import { PartialFile } from "./partial-file.ts";
import { unpacked } from "./read-json.ts";
import { follow } from "./redirects.ts";
import { jsonIn, refusalText } from "./refusal-text.ts";
import { steadily } from "./steady-body.ts";
import { insist, PassingError, refuseBusy } from "./tries.ts";

/** Bytes of one request: few requests, and little to lose in each. */
const PIECE_BYTES = 2 ** 24;
/** Less than a 32nd of a file, and never more than this, is no progress: a line that drips would never be given up. */
const PROGRESS_BYTES = 2 ** 15;

export interface FileSource {
  readonly url: URL;
  /** Tried where the first is not known. */
  readonly otherUrl?: URL | "" | undefined;
  /** As `FollowOptions.basePath`. */
  readonly basePath: string;
  /** What it means that the hub itself refuses the file. */
  readonly refusal: (answer: JsonAnswer) => PullError;
  readonly credentials: {
    readonly origin: string;
    readonly headers: Readonly<Record<string, string>>;
  };
}

export interface DownloadFileOptions {
  readonly context: HubContext;
  readonly connections: number;
  /** New bytes on disk; negative when they were thrown away. */
  readonly onBytes: (bytes: number) => void;
  /** Bytes that were hashed. */
  readonly onVerified: (bytes: number) => void;
  /** Called once everything is here and only the hash is missing. */
  readonly onCame?: () => void;
}

/** @throws PullError, DiskError, the signal's reason */
export async function downloadFile(
  source: FileSource,
  path: string,
  file: ListedFile,
  options: DownloadFileOptions,
): Promise<void> {
  const partial = await PartialFile.open(path, file);
  options.onBytes(partial.bytes);
  // One connection that fails for good ends the others.
  const stop = startDeadline(undefined, options.context.signal);
  const context = { ...options.context, signal: stop.signal };
  try {
    await new FileDownload(source, file, partial, { ...options, context }, stop.abort).run();
  } finally {
    stop.end();
    await partial.close();
  }
}

/**
 * The first bytes of a file; they stay for the download of the rest.
 *
 * @returns undefined where the server sends whole files only
 * @throws PullError, DiskError, the signal's reason
 */
export async function downloadBeginning(
  source: FileSource,
  path: string,
  file: ListedFile,
  { end, context }: { readonly end: number; readonly context: HubContext },
): Promise<Buffer | undefined> {
  const partial = await PartialFile.open(path, file);
  const nothing = () => {};
  const options = { context, connections: 1, onBytes: nothing, onVerified: nothing };
  try {
    const download = new FileDownload(source, file, partial, options, nothing);
    return (await download.begin(end)) ? await partial.read(end) : undefined;
  } finally {
    await partial.close();
  }
}

class FileDownload {
  readonly #source: FileSource;
  readonly #file: ListedFile;
  readonly #partial: PartialFile;
  readonly #options: DownloadFileOptions;
  readonly #abort: (reason: unknown) => void;
  readonly #host: string;
  #url: URL;
  /** Where the last answer came from; signed, and good for a while. */
  #link: URL | undefined;
  /** undefined until an answer showed it. */
  #knowsRanges: boolean | undefined;
  /** Rather nothing than the whole file. */
  #wantsPart = false;

  constructor(
    source: FileSource,
    file: ListedFile,
    partial: PartialFile,
    options: DownloadFileOptions,
    abort: (reason: unknown) => void,
  ) {
    this.#abort = abort;
    this.#source = source;
    this.#file = file;
    this.#partial = partial;
    this.#options = options;
    this.#url = source.url;
    this.#host = source.url.host;
  }

  async run(): Promise<void> {
    const { context, onVerified, onBytes, onCame } = this.#options;
    for (let again = false; ; again = true) {
      await this.#fetchMissing();
      const bytes = this.#partial.bytes;
      onCame?.();
      if (await this.#partial.finish({ signal: context.signal, onBytes: onVerified })) return;
      onBytes(-bytes);
      if (again) throw this.#wrongBytes();
      await this.#partial.reopen();
      this.#link = undefined;
    }
  }

  /** @returns whether the bytes up to `end` are here */
  async begin(end: number): Promise<boolean> {
    this.#wantsPart = end < this.#file.size;
    await this.#fetchPiece({ start: 0, end });
    return this.#partial.missing({ start: 0, end }).length === 0;
  }

  /** One connection until it is known whether the server takes ranges, then all of them. */
  async #fetchMissing(): Promise<void> {
    for (;;) {
      const pieces = cutIntoPieces(this.#partial.missing(), PIECE_BYTES);
      if (pieces.length === 0) return;
      const many = this.#knowsRanges === true ? this.#options.connections : 1;
      const inTurn = this.#knowsRanges === true ? pieces : pieces.slice(0, 1);
      await runAtOnce(many, inTurn, (piece) => this.#fetchPiece(piece), this.#abort);
    }
  }

  async #fetchPiece(piece: ByteRange): Promise<void> {
    const { pace, signal, onWait } = this.#options.context;
    const step = Math.max(1, Math.min(PROGRESS_BYTES, this.#file.size / 32));
    const progress = () => Math.floor(this.#bytesOf(piece) / step);
    await insist(
      async () => {
        const next = () => this.#partial.missing(piece)[0];
        for (let gap = next(); gap !== undefined; gap = next()) {
          if (!(await this.#transfer(gap))) return;
        }
      },
      { host: this.#host, pace, signal, onWait },
      progress,
    );
  }

  /** Of a piece; of everything where the server sends nothing less. */
  #bytesOf(piece: ByteRange): number {
    if (this.#knowsRanges !== true) return this.#partial.bytes;
    const missing = this.#partial.missing(piece).reduce((sum, gap) => sum + gap.end - gap.start, 0);
    return piece.end - piece.start - missing;
  }

  /** @returns false where only the whole file can be had, and a part was wanted */
  async #transfer(wanted: ByteRange): Promise<boolean> {
    const { answer, host } = await this.#ask(wanted);
    let place: ReturnType<typeof answeredBytes>;
    try {
      place = answeredBytes(answer, wanted, this.#file.size, host);
    } catch (error) {
      answer.body.destroy();
      throw error;
    }
    if (place.isWhole && this.#wantsPart) {
      answer.body.destroy();
      return false;
    }
    if (!place.isWhole) this.#knowsRanges ??= true;
    else this.#knowsRanges ??= false;
    const body = place.isWhole ? unpacked(answer) : answer.body;
    await this.#store(body, place, wanted, host);
    return true;
  }

  async #store(
    body: Readable,
    { start, end, isWhole }: ReturnType<typeof answeredBytes>,
    wanted: ByteRange,
    host: string,
  ): Promise<void> {
    const { context, onBytes } = this.#options;
    // A server that knows ranges elsewhere may still send everything: then only what was asked for is kept.
    const kept = isWhole && this.#knowsRanges === false ? { start: 0, end } : wanted;
    let position = start;
    for await (const chunk of steadily(body, context.pace.patienceMs)) {
      const from = Math.max(position, kept.start);
      const to = Math.min(position + chunk.byteLength, kept.end, end);
      if (to > from) {
        onBytes(await this.#partial.write(from, chunk.subarray(from - position, to - position)));
      }
      position += chunk.byteLength;
      if (isWhole && position > end) {
        throw new PassingError(`${host} sent more than the ${end} bytes of ${this.#file.path}`);
      }
      if (position >= Math.min(end, kept.end) && !(isWhole && kept.end === end)) break;
    }
    if (position < Math.min(end, kept.end)) throw new PassingError(`${host} broke off`);
  }

  async #ask(wanted: ByteRange): Promise<{ answer: HttpAnswer; host: string }> {
    const { client, headers, signal, reach } = this.#options.context;
    const link = this.#link;
    const { answer, url } = await follow(client, link ?? this.#url, {
      headers: {
        ...headers,
        "accept-encoding": "identity",
        range: `bytes=${wanted.start}-${wanted.end - 1}`,
      },
      credentials: this.#source.credentials,
      basePath: this.#source.basePath,
      signal,
      reach,
    });
    if (answer.status === 200 || answer.status === 206) {
      if (url.origin !== this.#source.url.origin) this.#link = url;
      return { answer, host: url.host };
    }
    const isElsewhere = url.origin !== this.#source.url.origin;
    this.#link = undefined;
    return this.#refuse(answer, url.host, isElsewhere);
  }

  async #refuse(answer: HttpAnswer, host: string, isElsewhere: boolean): Promise<never> {
    const { status } = answer;
    const { path } = this.#file;
    if (status === 416) {
      drop(answer);
      throw new PassingError(`${host} has a shorter file now (HTTP 416)`, { status });
    }
    try {
      refuseBusy(answer, host);
    } catch (error) {
      drop(answer);
      throw error;
    }
    const text = await refusalText(answer, this.#options.context.pace.patienceMs);
    if (isElsewhere) {
      const said = /<Code>(\w{1,60})<\/Code>/.exec(text)?.[1];
      const shown = said === undefined ? "" : `, ${said}`;
      throw new PassingError(`${host} refuses ${path} (HTTP ${status}${shown})`, { status });
    }
    if (status === 401 || status === 403) {
      throw this.#source.refusal({ status, headers: answer.headers, json: jsonIn(text) });
    }
    const { otherUrl } = this.#source;
    if (status === 404 && otherUrl && otherUrl !== this.#url) {
      this.#url = otherUrl;
      throw new PassingError(`${host} does not serve ${path} by its commit`, { waitMs: 0 });
    }
    throw new PullError(
      "hub-answer",
      `${host} does not give ${path} (HTTP ${status}), though it lists it.`,
      { host, status, file: path },
    );
  }

  #wrongBytes(): PullError {
    const { path } = this.#file;
    return new PullError(
      "wrong-bytes",
      `What ${this.#host} sent for ${path} does not have the hash that the hub names, twice. It was changed on the way, or the hub is wrong; it was thrown away.`,
      { host: this.#host, file: path },
    );
  }
}
