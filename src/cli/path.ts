// `napcat-vlm path NAME`: where a pulled model lies, and nothing else, for scripts.

import { ModelStore } from "../vlm/hub/model-store.ts";
import { print } from "./terminal.ts";
import { UsageError } from "./usage-error.ts";

export async function printPath(model: string): Promise<void> {
  const { name, packages, checkpoint, foreign } = await new ModelStore().get(model);
  const path = packages[0]?.dir ?? checkpoint ?? foreign?.directory;
  if (path === undefined) throw new UsageError(`${name} is not complete: napcat-vlm pull ${name}.`);
  print(path);
}
