// A headless Chromium for the tests of the chat page. In: nothing. Out: a browser, or an error that says what to install.

import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";

const CANDIDATES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** Starts the browser that `CHROMIUM` names, or the one of the distribution. */
export function launchChromium(): Promise<Browser> {
  const named = process.env.CHROMIUM;
  const executablePath = named || CANDIDATES.find((path) => existsSync(path));
  if (!executablePath || !existsSync(executablePath)) {
    throw new Error(
      `No Chromium at ${named || CANDIDATES.join(", ")}. ` +
        "Install it (Debian: apt-get install chromium) or set CHROMIUM to its path.",
    );
  }
  return chromium.launch({
    executablePath,
    // No calls home: a closed network would refuse them one by one.
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}
