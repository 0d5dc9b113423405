// `napcat-vlm remove NAME`: a pulled model goes away, with everything that was made of it. Caches of other programs stay.

import { ModelStore } from "../vlm/hub/model-store.ts";
import { takeLock } from "../vlm/hub/pull-lock.ts";
import { complain, print } from "./terminal.ts";

/** Resolves to the exit code. */
export async function removeModel(model: string): Promise<number> {
  const store = new ModelStore();
  const found = await store.get(model);
  // A pull that runs would put it back, half.
  const lock = await takeLock(found.dir, found.name, new AbortController().signal);
  try {
    if (await store.remove(found)) {
      print(`已删除 removed: ${found.name}`);
      return 0;
    }
    complain(`有文件被占用，未能全部删除 · some files are held: ${found.dir}`);
    return 1;
  } finally {
    await lock.release();
  }
}
