import { defineConfig } from "vitest/config";

// The chat page in a real browser: `npm run test:browser`. Needs Chromium, so it is not part of `npm test`.
export default defineConfig({
  test: {
    include: ["test/browser/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 180_000,
    pool: "forks",
  },
});
