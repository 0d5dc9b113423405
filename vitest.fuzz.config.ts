import { defineConfig } from "vitest/config";
import { packageAliases } from "./package-aliases.ts";

// Properties with what strangers send, for longer than in `npm test`: FUZZ_SECONDS for each, another seed each time.
process.env.FUZZ_SECONDS ??= "60";

export default defineConfig({
  resolve: { alias: packageAliases },
  test: {
    include: ["test/fuzz/**/*.test.ts"],
    testTimeout: (Number(process.env.FUZZ_SECONDS) + 60) * 1000,
    hookTimeout: 120_000,
    pool: "forks",
  },
});
