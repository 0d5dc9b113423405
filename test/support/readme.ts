// The two READMEs, for the tests that hold them against the code. In: a label. Out: the table or block below it.

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { fencedBlocks, type Table, tables } from "./markdown.ts";

export const PAGES = ["README.md", "README.zh-CN.md"] as const;
export type Page = (typeof PAGES)[number];

/** A path inside the repository. */
export const root = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
export const read = (path: string) => readFile(root(path), "utf8");

export const texts = Object.fromEntries(
  await Promise.all(PAGES.map(async (page) => [page, await read(page)] as const)),
) as Record<Page, string>;

/** The rows of the one table with this label. */
export function tableOf(page: Page, label: string): Table["rows"] {
  const found = tables(texts[page]).filter((table) => table.label === label);
  expect(found, `tables labelled ${label}`).toHaveLength(1);
  return found[0]?.rows ?? [];
}

/** The one block with this label. */
export function blockOf(page: Page, label: string): string {
  const found = fencedBlocks(texts[page]).filter((block) => block.label === label);
  expect(found, `blocks labelled ${label}`).toHaveLength(1);
  return found[0]?.text ?? "";
}
