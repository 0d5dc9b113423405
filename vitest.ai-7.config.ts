// The tests of the AI SDK provider with version 7 of the SDK: `npm run test:ai-7` installs it beside them first.

import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { packageAliases } from "./package-aliases.ts";

const installed = new URL("./test/ai-sdk/ai-7/node_modules/ai/dist/index.js", import.meta.url);

export default defineConfig({
  resolve: { alias: [...packageAliases, { find: /^ai$/, replacement: fileURLToPath(installed) }] },
  test: { include: ["test/ai-sdk/*.test.ts"], pool: "forks" },
});
