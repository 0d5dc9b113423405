// The files of the chat page. In: nothing. Out: their bytes and headers, read once when the server starts.
// They lie beside this file, in src as in dist.

import { fileURLToPath } from "node:url";
import { disk } from "../../disk.ts";

export interface PageFile {
  readonly path: string;
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
}

const FILES = {
  "index.html": "text/html; charset=utf-8",
  "page.css": "text/css; charset=utf-8",
  "page.js": "text/javascript; charset=utf-8",
  "chat-client.js": "text/javascript; charset=utf-8",
  "message-view.js": "text/javascript; charset=utf-8",
  "pictures.js": "text/javascript; charset=utf-8",
  "words.js": "text/javascript; charset=utf-8",
  "status.html": "text/html; charset=utf-8",
  "status.css": "text/css; charset=utf-8",
  "status.js": "text/javascript; charset=utf-8",
  "status-words.js": "text/javascript; charset=utf-8",
};

/** Nothing from elsewhere, nothing inline, no frames: a page that shows what strangers wrote. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' blob: data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

const PATHS: Readonly<Record<string, string>> = { "index.html": "/", "status.html": "/status" };

/** Reads the pages; `index.html` becomes `/`, `status.html` becomes `/status`. */
export function readPageFiles(): Promise<PageFile[]> {
  return Promise.all(
    Object.entries(FILES).map(async ([name, type]) => ({
      path: PATHS[name] ?? `/${name}`,
      body: await disk.readText(fileURLToPath(new URL(`./page/${name}`, import.meta.url))),
      headers: {
        "Content-Type": type,
        "Content-Security-Policy": POLICY,
        "Cache-Control": "no-cache",
      },
    })),
  );
}
