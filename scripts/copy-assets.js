// The last step of `npm run build`: what tsc leaves behind goes into dist, and the command becomes executable.

import { chmod, cp } from "node:fs/promises";

const root = new URL("../", import.meta.url);
const page = "bot/debug-http/page/";

await cp(new URL(`src/${page}`, root), new URL(`dist/${page}`, root), { recursive: true });
await chmod(new URL("dist/cli.js", root), 0o755);
