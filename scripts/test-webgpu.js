// `npm run test:webgpu`: the proof of the device "webgpu" on this machine, a software driver included, with 200 requests
// and the speed of a small model; `-- --quick` leaves the 200 requests out. It installs nothing; where there is no
// adapter the first check fails and says what is missing.

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const cli = fileURLToPath(new URL("../dist/cli.js", import.meta.url));
const words = ["prove", "--device", "webgpu", "--size", "nano", ...process.argv.slice(2)];
const { status } = spawnSync(process.execPath, [cli, ...words], { stdio: "inherit" });
process.exit(status ?? 1);
