// Can the debug page have its port?

import { refuseTakenPort } from "../port.ts";
import type { CheckContext, Finding } from "./finding.ts";
import { shownHost } from "./shown.ts";

export async function checkPort({ settings: { host, port } }: CheckContext): Promise<Finding> {
  const what = { zh: "调试页", en: "Debug page" };
  const found = shownHost(`${host}:${port}`);
  try {
    await refuseTakenPort(host, port);
    return { verdict: "ok", what, found };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const advice =
      code === "EADDRINUSE"
        ? {
            zh: "端口已被占用，可能机器人正在运行；否则用 --port 换一个",
            en: "The port is taken, perhaps by a running bot; else choose another with --port.",
          }
        : { zh: "请检查 --host 和 --port", en: "Check --host and --port." };
    return { verdict: "warn", what, found: `${found} (${code})`, advice };
  }
}
