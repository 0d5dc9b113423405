// Where benchmarks keep their models and reports: never inside a repository. Out: a directory of the user's cache.

import { join } from "node:path";
import { userCacheDir } from "../../vlm/convert/user-cache-dir.ts";

export function benchDirectory(): string {
  return join(userCacheDir(), "napcat-vlm", "bench");
}
