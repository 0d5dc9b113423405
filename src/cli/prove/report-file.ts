// The file that a report goes to. In: a path. Out: the report as JSON there; a path that cannot be written to is an error
// before anything is measured, and not after. Reports are shown to others: whose home directory it is, is left out.

import { open, rm, stat, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { nativePath } from "../../disk.ts";
import { UsageError } from "../usage-error.ts";

/** Leaves the file as it is. @throws UsageError */
export async function expectWritable(path: string): Promise<void> {
  const place = nativePath(path);
  try {
    const isNew = (await stat(place).catch(() => undefined)) === undefined;
    await (await open(place, "a")).close();
    if (isNew) await rm(place);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(`The report of --json cannot be written to ${path}: ${reason}`);
  }
}

export async function writeReport(path: string, report: object): Promise<void> {
  await writeFile(nativePath(path), `${inJson(report, 2)}\n`);
}

export function inJson(value: object, indent?: number): string {
  const shown = (_: string, part: unknown) => (typeof part === "string" ? withoutHome(part) : part);
  return JSON.stringify(value, shown, indent);
}

/** A path below somebody's home directory, as a shell would take it. */
export function withoutHome(text: string, home = homedir()): string {
  return /[\\/].+/u.test(home) ? text.replaceAll(home, "~") : text;
}
