// `npm start`: builds, then becomes the command `napcat-vlm start` in this very process.
// Not a line of shell: the shell would die of Ctrl-C, and npm report a failure, before the bot has ended.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

let building;

// Until the command listens itself, there is nothing to end but the build.
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    if (process.listenerCount(signal) > 1) return;
    building?.kill(signal);
    process.exit(0);
  });
}

const npm = process.env.npm_execpath;
building = npm
  ? spawn(process.execPath, [npm, "run", "--silent", "build"], { stdio: "inherit" })
  : spawn("npm run --silent build", { stdio: "inherit", shell: true });
const [code] = await once(building, "exit");
if (code !== 0) process.exit(code ?? 1);

const command = new URL("../dist/cli.js", import.meta.url);
process.argv.splice(1, 1, fileURLToPath(command), "start");
await import(command.href);
