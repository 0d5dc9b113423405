import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/browser/**", "**/node_modules/**"],
    // Native sessions and real sockets: generous on a slow machine, a hang still ends.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // koffi and ONNX Runtime want real processes, not worker threads.
    pool: "forks",
  },
});
