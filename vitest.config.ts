import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { packageAliases } from "./package-aliases.ts";

export default defineConfig({
  resolve: { alias: packageAliases },
  test: {
    include: ["test/**/*.test.ts", "examples/**/*.test.ts"],
    exclude: ["test/browser/**", "**/node_modules/**"],
    globalSetup: ["test/support/global-setup.ts"],
    // Native sessions and real sockets: generous on a slow or busy machine, a hang still ends. What is waited for is
    // there in milliseconds on an idle one; how long it may take is no test's affair.
    testTimeout: 240_000,
    hookTimeout: 240_000,
    teardownTimeout: 120_000,
    expect: { poll: { timeout: 60_000 } },
    // koffi and ONNX Runtime want real processes, not worker threads.
    pool: "forks",
    // Many tests wait for processes and sockets: on two cores one worker would leave both half idle. Each computes on all
    // cores: on a large machine a worker for each core would only take time from the others.
    maxWorkers: Math.min(8, Math.max(2, availableParallelism() - 1)),
  },
});
