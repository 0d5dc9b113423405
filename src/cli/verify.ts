// `napcat-vlm verify NAME`: every byte of a pulled model is read again. In: a name. Out: a line for each part, and an exit
// code: a disk that lies is found here and not in an answer.

import { join } from "node:path";
import { disk } from "../disk.ts";
import { verifyPackage } from "../vlm/convert/manifest.ts";
import { matches } from "../vlm/hub/file-digest.ts";
import { ModelStore, type StoredModel } from "../vlm/hub/model-store.ts";
import { isVlmError } from "../vlm/index.ts";
import { complain, print } from "./terminal.ts";

/** Resolves to the exit code. */
export async function verifyModel(model: string, signal: AbortSignal): Promise<number> {
  const store = new ModelStore();
  const found = await store.get(model);
  if (found.record === undefined && found.foreign !== undefined) {
    complain(
      `${found.name} 由其他程序制作，没有可以比对的哈希 · was made by another program, and there are no hashes to compare ` +
        `with. napcat-vlm doctor --model ${found.name} opens its graphs.`,
    );
    return 1;
  }
  const parts = [...(await packages(found, signal)), ...(await checkpoint(found, store, signal))];
  for (const { ok, text } of parts) (ok ? print : complain)(`${ok ? "ok  " : "bad "} ${text}`);
  const isWhole = found.record !== undefined && parts.length > 0 && parts.every(({ ok }) => ok);
  if (isWhole) return 0;
  complain(
    `重新下载 pull it again: napcat-vlm remove ${found.name} && napcat-vlm pull ${found.name}`,
  );
  return 1;
}

interface Part {
  readonly ok: boolean;
  readonly text: string;
}

async function packages({ packages }: StoredModel, signal: AbortSignal): Promise<Part[]> {
  const parts: Part[] = [];
  for (const { dir, manifest } of packages) {
    try {
      await verifyPackage(dir, { hashes: true, signal });
      parts.push({ ok: true, text: `${dir} · ${manifest.outputs.length} files` });
    } catch (error) {
      if (!isVlmError(error)) throw error;
      parts.push({ ok: false, text: error.message });
    }
  }
  return parts;
}

/** The hub's files, where they were kept: each against the hash that the hub named. */
async function checkpoint(
  { name, record }: StoredModel,
  store: ModelStore,
  signal: AbortSignal,
): Promise<Part[]> {
  if (record === undefined) return [];
  const dir = store.snapshotDir(name, record.revision);
  if (!(await disk.isOccupied(dir))) return [];
  const parts: Part[] = [];
  for (const file of record.files) {
    const path = join(dir, file.path);
    parts.push({ ok: await matches(path, file, { signal }), text: path });
  }
  return parts;
}
