// Notices that a file may have changed. In: a path. Out: calls, soon after something happened in its directory: editors
// write beside a file and put the new one in its place, and containers swap links. Whoever is called compares.

import { watch } from "node:fs";
import { dirname } from "node:path";

/** Editors do several things in a row; the last of them counts. */
const SETTLE_MS = 200;

export interface FileWatch {
  close(): void;
}

/**
 * Watches until it is closed; it keeps no process alive.
 *
 * @param onTrouble told once when the directory cannot be watched, such as on some network drives
 */
export function watchFile(
  path: string,
  onChange: () => void,
  onTrouble: (error: unknown) => void,
): FileWatch {
  let timer: NodeJS.Timeout | undefined;
  // Not begun afresh by each event: a directory that never rests must not hide the file.
  const settle = () => {
    timer ??= setTimeout(() => {
      timer = undefined;
      onChange();
    }, SETTLE_MS);
    timer.unref();
  };
  try {
    const watcher = watch(dirname(path), { persistent: false }, settle);
    watcher.on("error", (error) => {
      watcher.close();
      onTrouble(error);
    });
    return {
      close() {
        clearTimeout(timer);
        watcher.close();
      },
    };
  } catch (error) {
    onTrouble(error);
    return { close() {} };
  }
}
