// How long a disk is borne with. In: something that is to be done to a path. Out: its result, later where another program
// holds the path, or the system's refusal in words. It knows codes of errors and no files.

import { codeOf, DiskError, type DiskTrouble } from "./disk-error.ts";

/** What of this computer the module uses; replaced in tests. */
export interface PatienceParts {
  readonly platform: () => string;
  /** Milliseconds that only grow. */
  readonly now: () => number;
  readonly pause: (milliseconds: number, signal: AbortSignal | undefined) => Promise<void>;
}

export interface PatienceOptions {
  /** Ends the waiting with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** How long another program may hold the path. */
  readonly patienceMs?: number;
}

const FIRST_PAUSE_MS = 10;
const LONGEST_PAUSE_MS = 2_000;

const HELD = new Set(["EPERM", "EACCES", "EBUSY", "ENOTEMPTY", "EEXIST"]);
/** The empty one: an error of our own, made of what was seen while somebody else was at it. */
const RACED = new Set(["", "ENOENT", "ENOTEMPTY", "EEXIST"]);
const FULL = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);
const REFUSED = new Set(["EACCES", "EPERM", "EROFS", "ENAMETOOLONG"]);
/** What is said of a rename where there is none: other disks, mount points, some shares and FUSE. */
const NO_RENAME = new Set(["EXDEV", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EINVAL", "EIO"]);
/** Said where Unix has no rename for this directory; on Windows they mean that it is held. */
const NO_RENAME_UNIX = new Set(["EPERM", "EACCES", "EBUSY"]);

export class Patience {
  readonly #parts: PatienceParts;
  readonly #freeBytes: (path: string) => Promise<number | undefined>;

  /** @param freeBytes what is said of a full disk */
  constructor(parts: PatienceParts, freeBytes: (path: string) => Promise<number | undefined>) {
    this.#parts = parts;
    this.#freeBytes = freeBytes;
  }

  /** Does something until it works, with growing pauses where another program holds the path. */
  async until<T>(
    path: string,
    attempt: () => Promise<T>,
    options: PatienceOptions & {
      readonly patienceMs: number;
      /** How often others may have been at the same path at the same moment. @default 0 */
      readonly races?: number;
      readonly refusal?: DiskTrouble;
    },
  ): Promise<T> {
    const { signal, patienceMs, races = 0, refusal } = options;
    const end = this.#parts.now() + patienceMs;
    let wait = FIRST_PAUSE_MS;
    for (let tries = 1; ; tries++) {
      try {
        return await attempt();
      } catch (error) {
        if (error instanceof DiskError) throw error;
        const code = codeOf(error) ?? "";
        const windows = this.#parts.platform() === "win32";
        if (windows && HELD.has(code) && this.#parts.now() < end) {
          await this.#parts.pause(wait, signal);
          wait = Math.min(wait * 1.6, LONGEST_PAUSE_MS);
        } else if (!RACED.has(code) || tries >= races) {
          throw await this.explain(error, path, refusal ?? (windows ? "held" : "refused"));
        }
      }
    }
  }

  /** The system's error in words, where it is about the disk; else as it is. */
  async explain(error: unknown, path: string, refusal: DiskTrouble): Promise<unknown> {
    const code = codeOf(error);
    if (code === undefined || error instanceof DiskError) return error;
    const cause = error;
    if (FULL.has(code)) {
      return new DiskError("full", path, { cause, freeBytes: await this.#freeBytes(path) });
    }
    if (code === "EBUSY") return new DiskError("held", path, { cause });
    if (code === "EROFS" || code === "ENAMETOOLONG")
      return new DiskError("refused", path, { cause });
    return REFUSED.has(code) ? new DiskError(refusal, path, { cause }) : error;
  }

  /** Is this what is said where there is no rename? */
  cannotRename(error: unknown): boolean {
    const code = codeOf(error) ?? "";
    if (NO_RENAME.has(code)) return true;
    return this.#parts.platform() !== "win32" && NO_RENAME_UNIX.has(code);
  }
}
