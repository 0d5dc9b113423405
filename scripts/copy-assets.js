// The last step of `npm run build`: what tsc leaves behind goes into dist (or the directory named as argument), and
// the command becomes executable.

import { chmod, cp } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));
const output = process.argv[2] ?? join(root, "dist");
const page = join("bot", "debug-http", "page");

// The script of the device thread is JavaScript already.
const thread = join("vlm", "runtime", "device-thread-worker.js");

await cp(join(root, "src", page), join(output, page), { recursive: true });
await cp(join(root, "src", thread), join(output, thread));
await chmod(join(output, "cli.js"), 0o755);
