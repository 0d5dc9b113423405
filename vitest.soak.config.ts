import { defineConfig } from "vitest/config";
import { packageAliases } from "./package-aliases.ts";

// A long evening in fifty groups: SOAK_SECONDS of it, five minutes unless told otherwise.
process.env.SOAK_SECONDS ??= "300";
process.env.SOAK_SEED ??= String(Math.floor(Math.random() * 2 ** 31));

export default defineConfig({
  resolve: { alias: packageAliases },
  test: { include: ["test/bot/soak.test.ts"], pool: "forks" },
});
