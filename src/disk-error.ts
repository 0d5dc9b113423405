// Trouble with a place on a disk, in words: what is wrong, where, with how many bytes, and what to do. It looks at no disk.

/** What is wrong with a place: another program holds it, it is full, or it may not be written. */
export type DiskTrouble = "held" | "full" | "refused";

/** Trouble that no retry mended; the message says what to do. */
export class DiskError extends Error {
  override readonly name = "DiskError";
  readonly trouble: DiskTrouble;
  /** The system's own code, such as EBUSY. */
  readonly code: string;
  readonly path: string;
  /** With `full`: how much had to fit, and how much is free, as far as known. */
  readonly neededBytes: number | undefined;
  readonly freeBytes: number | undefined;

  constructor(
    trouble: DiskTrouble,
    path: string,
    options: {
      readonly cause?: unknown;
      readonly neededBytes?: number | undefined;
      readonly freeBytes?: number | undefined;
    } = {},
  ) {
    const code =
      codeOf(options.cause) ?? { held: "EBUSY", full: "ENOSPC", refused: "EACCES" }[trouble];
    super(describe(trouble, path, code, options), { cause: options.cause });
    this.trouble = trouble;
    this.code = code;
    this.path = path;
    this.neededBytes = options.neededBytes;
    this.freeBytes = options.freeBytes;
  }
}

/** The system's code of an error, such as ENOENT. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

function describe(
  trouble: DiskTrouble,
  path: string,
  code: string,
  sizes: { readonly neededBytes?: number | undefined; readonly freeBytes?: number | undefined },
): string {
  switch (trouble) {
    case "held":
      return (
        `Another program holds ${path} (${code}): a virus scanner, a file viewer or a running bot. ` +
        "Close it, or leave this directory out of the scan, and try again."
      );
    case "full": {
      const needed =
        sizes.neededBytes === undefined ? "" : ` ${size(sizes.neededBytes)} are needed`;
      const free = sizes.freeBytes === undefined ? "" : ` ${size(sizes.freeBytes)} are free`;
      const both = [needed, free].filter((part) => part !== "").join(" and");
      return `The disk with ${path} is full (${code})${both && `:${both}`}. Make room, or choose a directory on another disk.`;
    }
    case "refused":
      return code === "ENAMETOOLONG"
        ? `The path ${path} is too long for this disk (${code}). Choose a shorter one.`
        : `${path} cannot be used (${code}): it is read-only or belongs to another user. Change that, or choose another directory.`;
  }
}

function size(bytes: number): string {
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}
