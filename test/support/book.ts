// The README and the pages of docs/ in both languages, for the tests that hold them against the code.
// In: a language and a label. Out: the table or block below it, on whichever page it stands.

import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { fencedBlocks, type Table, tables } from "./markdown.ts";

export const LANGUAGES = ["en", "zh-CN"] as const;
export type Language = (typeof LANGUAGES)[number];

export interface Page {
  /** `README`, or the file name in `docs/<language>` without its ending; the same in both languages. */
  readonly name: string;
  /** Inside the repository, with slashes. */
  readonly path: string;
  readonly text: string;
}

/** A path inside the repository. */
export const root = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
export const read = (path: string) => readFile(root(path), "utf8");

async function readBook(language: Language): Promise<readonly Page[]> {
  const files = (await readdir(root(`docs/${language}`))).filter((file) => file.endsWith(".md"));
  const paths = [
    language === "en" ? "README.md" : `README.${language}.md`,
    ...files.toSorted().map((file) => `docs/${language}/${file}`),
  ];
  return Promise.all(
    paths.map(async (path) => ({
      name: /(README|[\w-]+)(?:\.zh-CN)?\.md$/.exec(path)?.[1] ?? path,
      path,
      text: await read(path),
    })),
  );
}

/** The README comes first. */
export const books: Readonly<Record<Language, readonly Page[]>> = {
  en: await readBook("en"),
  "zh-CN": await readBook("zh-CN"),
};

/** All tables of a language. */
export function allTables(language: Language): readonly Table[] {
  return books[language].flatMap(({ text }) => tables(text));
}

/** The rows of the one table with this label. */
export function tableOf(language: Language, label: string): Table["rows"] {
  const found = allTables(language).filter((table) => table.label === label);
  expect(found, `tables labelled ${label}`).toHaveLength(1);
  return found[0]?.rows ?? [];
}

/** The one block with this label. */
export function blockOf(language: Language, label: string): string {
  const found = books[language]
    .flatMap(({ text }) => fencedBlocks(text))
    .filter((block) => block.label === label);
  expect(found, `blocks labelled ${label}`).toHaveLength(1);
  return found[0]?.text ?? "";
}
