import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { packageAliases } from "./package-aliases.ts";

export default defineConfig({
  resolve: { alias: packageAliases },
  test: {
    include: ["test/**/*.test.ts", "examples/**/*.test.ts"],
    exclude: ["test/browser/**", "**/node_modules/**"],
    globalSetup: ["test/support/global-setup.ts"],
    // Native sessions and real sockets: generous on a slow machine, a hang still ends.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // koffi and ONNX Runtime want real processes, not worker threads.
    pool: "forks",
    // Many tests wait for processes and sockets: on two cores one worker would leave both half idle.
    maxWorkers: Math.max(2, availableParallelism() - 1),
  },
});
