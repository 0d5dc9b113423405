// Names, sizes and hashes in a hub's list of files, checked. In: what the hub says. Out: files that can be fetched, or a
// PullError. Nothing here believes a hub: a name can be a path out of the directory, a size can be a lie.

import { PullError } from "../errors.ts";
import { isGraphPath } from "../foreign/foreign-files.ts";
import type { ListedFile } from "./hub.ts";
import { shownText } from "./shown-text.ts";

const MOST_FILES = 100_000;
const LONGEST_PATH = 1_000;
const LARGEST_FILE = 2 ** 43;
/** Names that Windows keeps for devices, whatever comes behind the dot. */
const DEVICE = /^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)/i;

/** Keeps what may be of use, once each: what lies at the top of the repository, and graphs in folders. @throws PullError `hub-answer` */
export function checkListed(files: readonly ListedFile[], host: string): ListedFile[] {
  if (files.length > MOST_FILES) throw refuse(host, `names more than ${MOST_FILES} files`);
  const byPath = new Map<string, ListedFile>();
  for (const file of files) {
    if (!isSafePath(file.path)) {
      throw refuse(host, `names a file that leads out of its directory: ${shownText(file.path)}`);
    }
    if (!isOfUse(file.path)) continue;
    if (!Number.isSafeInteger(file.size) || file.size < 0 || file.size > LARGEST_FILE) {
      throw refuse(host, `gives ${shownText(file.path)} a size that cannot be`);
    }
    // Two disks in three do not tell these apart.
    const key = file.path.toLowerCase();
    const other = byPath.get(key);
    if (other !== undefined && !isSame(other, file)) {
      throw refuse(host, `names ${shownText(file.path)} twice, and not the same`);
    }
    byPath.set(key, file);
  }
  return [...byPath.values()].toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

/** Settings and weights lie at the top, and what other programs export in folders that have names; others are named. */
function isOfUse(path: string): boolean {
  return (
    !path.includes("/") || isGraphPath(path) || /\/(?:[^/]+\.onnx|genai_config\.json)$/.test(path)
  );
}

/** Relative, with slashes, and nowhere but downwards; on Windows too. */
export function isSafePath(path: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (path === "" || path.length > LONGEST_PATH || /[\u0000-\u001f\u007f\\:*?"<>|]/.test(path)) {
    return false;
  }
  return path
    .split("/")
    .every((part) => part !== "" && !/^\.{1,2}$|[. ]$/.test(part) && !DEVICE.test(part));
}

function isSame(a: ListedFile, b: ListedFile): boolean {
  return a.path === b.path && a.size === b.size && a.sha256 === b.sha256 && a.gitSha1 === b.gitSha1;
}

function refuse(host: string, what: string): PullError {
  return new PullError("hub-answer", `The list of files from ${host} ${what}. It is not used.`, {
    host,
  });
}
