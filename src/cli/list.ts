// `napcat-vlm list`: the models that were pulled. Out: a line for each, or JSON.

import type { ForeignFiles } from "../vlm/foreign/foreign-files.ts";
import { ModelStore, type StoredModel } from "../vlm/hub/model-store.ts";
import { bytesText } from "./pull/pull-words.ts";
import { print } from "./terminal.ts";

export async function listModels({ json }: { readonly json: boolean }): Promise<void> {
  const store = new ModelStore();
  const models = await store.all();
  if (json) {
    print(JSON.stringify(models.map(describe), undefined, 2));
    return;
  }
  if (models.length === 0) {
    print("还没有下载模型 · no models yet: napcat-vlm pull qwen3-vl-2b");
    return;
  }
  for (const model of models) print(lineOf(model));
  print(store.dir);
}

function describe({ name, record, unfinished, packages, checkpoint, foreign, dir }: StoredModel) {
  return {
    name,
    hub: record?.hub ?? unfinished?.hub,
    host: record?.host ?? unfinished?.host,
    revision: record?.revision ?? unfinished?.revision,
    isComplete: record !== undefined || foreign !== undefined,
    directory: dir,
    checkpoint,
    packages: packages.map((each) => ({
      directory: each.dir,
      precision: each.manifest.precision,
      device: each.manifest.device,
      bytes: each.bytes,
    })),
    ...(foreign === undefined
      ? {}
      : {
          foreign: { directory: foreign.directory, layout: foreign.layout, graphs: foreign.graphs },
        }),
  };
}

function lineOf({ name, record, unfinished, packages, checkpoint, foreign }: StoredModel): string {
  const revision = (record ?? unfinished)?.revision.slice(0, 12) ?? "";
  const host = (record ?? unfinished)?.host ?? "";
  const forms = packages.map(
    ({ manifest, bytes }) =>
      `${manifest.precision.decoder}${manifest.device === "cpu" ? "" : ` (${manifest.device})`} ${bytesText(bytes)}`,
  );
  if (checkpoint !== undefined && record !== undefined) {
    const bytes = record.files.reduce((sum, { size }) => sum + size, 0);
    forms.push(`原文件 checkpoint ${bytesText(bytes)}`);
  }
  if (foreign !== undefined) forms.push(describeForeign(foreign));
  if (unfinished !== undefined) forms.push(`未完成 unfinished: napcat-vlm pull ${name}`);
  return [name, host, revision, ...forms].filter((part) => part !== "").join(" · ");
}

/** Its decoders, which differ in their number formats, and all of it together. */
function describeForeign({ layout, graphs }: ForeignFiles): string {
  const forms = graphs.decoder.flatMap(({ form }) => form ?? []);
  const bytes = Object.values(graphs)
    .flat()
    .reduce((sum, graph) => sum + graph.bytes, 0);
  return [layout, forms.join(" "), bytesText(bytes)].filter((part) => part !== "").join(" ");
}
