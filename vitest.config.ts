import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const source = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url));

export default defineConfig({
  // Examples import the package by its name, as its users do; here that is the source.
  resolve: {
    alias: [
      { find: /^napcat-vlm$/, replacement: source("bot/index.ts") },
      { find: /^napcat-vlm\/vlm$/, replacement: source("vlm/index.ts") },
      { find: /^napcat-vlm\/testing$/, replacement: source("bot/testing.ts") },
      { find: /^napcat-vlm\/vlm\/testing$/, replacement: source("vlm/testing.ts") },
    ],
  },
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/support/global-setup.ts"],
    exclude: ["test/browser/**", "**/node_modules/**"],
    // Native sessions and real sockets: generous on a slow machine, a hang still ends.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // koffi and ONNX Runtime want real processes, not worker threads.
    pool: "forks",
  },
});
