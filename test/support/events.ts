// OneBot fixtures of test/events and test/cases/events, without the keys that document them.

import { readdirSync, readFileSync } from "node:fs";

const directory = new URL("../events/", import.meta.url);

export type Fixture = Readonly<Record<string, unknown>>;

export function readEvent(name: string): Fixture {
  return read(new URL(`${name}.json`, directory));
}

/** A fixture of test/cases: what people have met on servers and networks of all kinds. */
export function readCase(name: string): Fixture {
  return read(new URL(`../cases/events/${name}.json`, import.meta.url));
}

function read(file: URL): Fixture {
  const fixture = JSON.parse(readFileSync(file, "utf8"));
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
