// OneBot fixtures of test/events, without the keys that document them.

import { readdirSync, readFileSync } from "node:fs";

const directory = new URL("../events/", import.meta.url);

export type Fixture = Readonly<Record<string, unknown>>;

export function readEvent(name: string): Fixture {
  const fixture = JSON.parse(readFileSync(new URL(`${name}.json`, directory), "utf8"));
  return Object.fromEntries(Object.entries(fixture).filter(([key]) => !key.startsWith("_")));
}

/** Names of the fixtures that are events, not answers of actions. */
export function eventNames(): string[] {
  return readdirSync(directory)
    .filter((file) => /^(group|private|message_sent|notice|meta|request)_/u.test(file))
    .map((file) => file.replace(/\.json$/u, ""))
    .sort();
}

/** Bytes of a real picture: one pixel, PNG. */
export const PIXEL_PNG = Uint8Array.from(
  Buffer.from(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    "base64",
  ),
);
