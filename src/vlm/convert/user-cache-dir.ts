// Where the operating system keeps files that can be made again. Out: a path; nothing is created there.

import { homedir } from "node:os";
import { join } from "node:path";

/** The operating system's place for files that can be made again. */
export function userCacheDir(): string {
  if (process.platform === "win32") {
    return process.env.LOCALAPPDATA ?? join(homedir(), "AppData", "Local");
  }
  if (process.platform === "darwin") return join(homedir(), "Library", "Caches");
  return process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache");
}
