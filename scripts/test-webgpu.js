// `npm run test:webgpu`: the proof of the device "webgpu" on this machine, a software driver included, with 200 requests
// and the speed of a small model; `-- --quick` leaves the 200 requests out. It installs nothing; where there is no
// adapter it says what is missing, and fails.

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const cli = fileURLToPath(new URL("../dist/cli.js", import.meta.url));
const words = ["prove", "--device", "webgpu", "--size", "nano", ...process.argv.slice(2)];
const { status } = spawnSync(process.execPath, [cli, ...words], { stdio: "inherit" });
if (status !== 0 && process.platform === "linux") {
  console.error(
    "Without a graphics card, Vulkan's loader and a software driver do: on Debian the packages libvulkan1 and " +
      "chromium-common, and VK_ICD_FILENAMES=/usr/lib/chromium/vk_swiftshader_icd.json.",
  );
}
process.exit(status ?? 1);
