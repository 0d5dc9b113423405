// Is the model there, whole, and converted already? Reads every byte of a package: a disk that lies is found here and
// not in an answer.

import { openCheckpoint } from "../../vlm/checkpoint/open-checkpoint.ts";
import { choosePrecision, defaultPackageDir } from "../../vlm/convert/ensure-package.ts";
import { isMarkedAsPackage, isPackageOf, verifyPackage } from "../../vlm/convert/manifest.ts";
import { hasDeepstack } from "../../vlm/engine/load-foreign.ts";
import { type ForeignFiles, findForeignFiles } from "../../vlm/foreign/foreign-files.ts";
import { openForeignPackage } from "../../vlm/foreign/foreign-package.ts";
import { precisionForCheckpoint } from "../../vlm/machine/precision-choice.ts";
import { openAiVlm } from "../../vlm/remote/index.ts";
import { parseRemoteAddress, type RemoteAddress } from "../../vlm/remote/remote-address.ts";
import { deviceKind } from "../../vlm/runtime/device.ts";
import { describeFailure } from "../errors.ts";
import { findNamedModel } from "../named-model.ts";
import type { Settings } from "../settings.ts";
import type { CheckContext, Finding, Text } from "./finding.ts";
import { describeLayers } from "./layers.ts";

export async function checkModel({ settings, signal }: CheckContext): Promise<Finding> {
  const what = { zh: "模型", en: "Model" };
  const { model: named } = settings;
  const elsewhere = parseRemoteAddress(named);
  if (elsewhere !== undefined) return checkServer(elsewhere, settings, signal);
  try {
    const model = await findNamedModel(settings);
    const foreign = await findForeignFiles(model);
    if (foreign !== undefined) return { what, ...(await describeForeign(foreign, settings)) };
    const found = (await isMarkedAsPackage(model))
      ? await describePackage(model, signal)
      : await describeCheckpoint({ ...settings, model }, signal);
    return { verdict: "ok", what, found };
  } catch (error) {
    signal.throwIfAborted();
    return { verdict: "fail", what, found: named, advice: describeFailure(error) };
  }
}

async function checkServer(
  address: RemoteAddress,
  { modelKey: apiKey }: Settings,
  signal: AbortSignal,
): Promise<Finding> {
  const what = { zh: "模型", en: "Model" };
  await using model = openAiVlm({ ...address, apiKey });
  const { up, models, error } = await model.ping({ signal });
  const { name, device } = model.info;
  if (!up) return { verdict: "fail", what, found: device, advice: describeFailure(error) };
  const found = `${name}, ${device}`;
  if (models.includes(name)) return { verdict: "ok", what, found };
  const advice = {
    zh: `服务器没有列出这个名字。它列出的有：${models.join("、")}`,
    en: `The server does not list this name. It lists: ${models.join(", ")}`,
  };
  return { verdict: "warn", what, found, advice };
}

async function describePackage(dir: string, signal: AbortSignal): Promise<Text> {
  const manifest = await verifyPackage(dir, { hashes: true, signal });
  const { source, precision, outputs } = manifest;
  const bytes = outputs.reduce((sum, output) => sum + output.bytes, 0);
  const layers = describeLayers(manifest.layers, precision);
  const facts = `${source.name}, ${precision.decoder}, ${megabytes(bytes)}, ${dir}`;
  return { zh: `${facts}；${layers.zh}`, en: `${facts}; ${layers.en}` };
}

/** What another program made. Its graphs say whether they have DeepStack, so they are opened: that proves the data, too. */
async function describeForeign(
  files: ForeignFiles,
  { precision, device }: Settings,
): Promise<Omit<Finding, "what">> {
  const choices = {
    device: device === "auto" ? "cpu" : device,
    precision,
    visionPrecision: undefined,
  };
  const found = await openForeignPackage(files, choices);
  const { name, layout, weightBytes, directory } = found;
  const isWhole = await hasDeepstack(found);
  const facts = `${name}, ${layout}, ${found.graphs.decoder.form ?? found.precision.decoder}, ${megabytes(weightBytes)}, ${directory}`;
  if (isWhole) {
    return {
      verdict: "ok",
      found: { zh: `${facts}；含 DeepStack`, en: `${facts}; has DeepStack` },
    };
  }
  return {
    verdict: "warn",
    found: { zh: `${facts}；缺少 DeepStack`, en: `${facts}; DeepStack is missing` },
    advice: {
      zh: "换用它的 safetensors 原模型：没有 DeepStack，小字、数字和位置会看得差很多",
      en: "Use the safetensors checkpoint it was made from: without DeepStack small print, numbers and places are read much worse",
    },
  };
}

async function describeCheckpoint(
  { model, precision: named, device }: Settings,
  signal: AbortSignal,
): Promise<Text> {
  const checkpoint = await openCheckpoint(model);
  await checkpoint.close();
  const { name } = checkpoint.source;
  const kind = device === "auto" ? "cpu" : deviceKind(device);
  const usual = kind === "cpu" ? await precisionForCheckpoint(model, { signal }) : undefined;
  const precision = choosePrecision(named ?? usual, undefined, kind);
  const { decoder } = precision;
  const dir = defaultPackageDir(model, precision, kind);
  if (await isMarkedAsPackage(dir)) {
    const manifest = await verifyPackage(dir, { hashes: true, signal });
    if (await isPackageOf(manifest, model, precision, kind)) {
      const layers = describeLayers(manifest.layers, precision);
      return {
        zh: `${name}，${decoder}，已转换，${model}；${layers.zh}`,
        en: `${name}, ${decoder}, converted, ${model}; ${layers.en}`,
      };
    }
  }
  return {
    zh: `${name}，首次启动时转换为 ${decoder}，${model}`,
    en: `${name}, to be converted to ${decoder} by the first start, ${model}`,
  };
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
