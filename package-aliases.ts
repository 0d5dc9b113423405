// The names by which users import this package, and the sources behind them: tests and examples run without a build.

import { fileURLToPath } from "node:url";

const source = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url));

export const packageAliases = [
  { find: /^napcat-vlm$/, replacement: source("bot/index.ts") },
  { find: /^napcat-vlm\/vlm$/, replacement: source("vlm/index.ts") },
  { find: /^napcat-vlm\/remote$/, replacement: source("vlm/remote/index.ts") },
  { find: /^napcat-vlm\/ai-sdk$/, replacement: source("ai-sdk/index.ts") },
  { find: /^napcat-vlm\/testing$/, replacement: source("bot/testing.ts") },
  { find: /^napcat-vlm\/vlm\/testing$/, replacement: source("vlm/testing.ts") },
];
