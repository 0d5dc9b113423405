// The model that a bot asks. In: settings. Out: a model in this process, one elsewhere, or several as one; it says which.
// It knows nothing of bots.

import { readModelSettings } from "../vlm/checkpoint/open-checkpoint.ts";
import { assertDirectory } from "../vlm/convert/ensure-package.ts";
import { loadQwen3Vl, type VisionLanguageModel } from "../vlm/index.ts";
import { fallback, openAiVlm, parseRemoteAddress } from "../vlm/remote/index.ts";
import type { RemoteAddress } from "../vlm/remote/remote-address.ts";
import { describeForLog } from "./errors.ts";
import { findOrPullModel } from "./named-model.ts";
import { showProgress } from "./progress.ts";
import type { Settings } from "./settings.ts";
import { complain, print } from "./terminal.ts";

/** What a model may have to do while another one is idle. */
const MAX_REQUESTS = 4;

/** @throws what loading throws; a server that is down is only warned of: it may come up later */
export async function openModel(
  settings: Settings,
  signal: AbortSignal,
): Promise<VisionLanguageModel> {
  const names = [settings.model, ...settings.fallback];
  // A wrong name is told before minutes go into loading another.
  const places: Place[] = [];
  for (const model of names) places.push(await findPlace({ ...settings, model }, signal));
  const opened: VisionLanguageModel[] = [];
  try {
    for (const place of places) opened.push(await openOne(place, settings, signal));
  } catch (error) {
    await Promise.all(opened.map((model) => model.dispose()));
    throw error;
  }
  const [only, ...others] = opened;
  if (only !== undefined && others.length === 0) return only;
  return fallback(
    opened.map((model) => ({ model, maxRequests: MAX_REQUESTS })),
    {
      onFallback: ({ from, to, error }) =>
        complain(
          `${from.name} (${from.device}) → ${to.name} (${to.device}): ${describeForLog(error)}`,
        ),
    },
  );
}

/** Where a model is: its directory, or the address of a server. */
type Place = string | RemoteAddress;

/** @throws ModelLoadError, PullError, TypeError for what names no model */
async function findPlace(settings: Settings, signal: AbortSignal): Promise<Place> {
  const address = parseRemoteAddress(settings.model);
  if (address !== undefined) return address;
  const needsCheckpoint = (settings.sections.vlm.adapters ?? []).length > 0;
  const directory = await findOrPullModel({ ...settings, needsCheckpoint }, signal);
  await assertDirectory(directory);
  await readModelSettings(directory, { weightsComing: true });
  return directory;
}

async function openOne(
  place: Place,
  settings: Settings,
  signal: AbortSignal,
): Promise<VisionLanguageModel> {
  if (typeof place === "string") return loadHere(place, settings, signal);
  const address = place;
  const model = openAiVlm({ ...address, apiKey: keyFor(address.baseURL, settings) });
  const { up, error } = await model.ping({ signal });
  const { name, device } = model.info;
  print(`模型   model   ${name} · ${device}${up ? "" : " · 还连不上 not up yet"}`);
  if (error !== undefined) complain(describeForLog(error));
  return model;
}

/** A key is told to one server only: that of the first model elsewhere. */
function keyFor(baseURL: string, { model, fallback, modelKey }: Settings): string | undefined {
  const [first] = [model, ...fallback].flatMap((name) => parseRemoteAddress(name) ?? []);
  const isIts = first !== undefined && new URL(first.baseURL).origin === new URL(baseURL).origin;
  return isIts ? modelKey : undefined;
}

async function loadHere(
  directory: string,
  settings: Settings,
  signal: AbortSignal,
): Promise<VisionLanguageModel> {
  const startedAt = performance.now();
  const progress = showProgress();
  try {
    const model = await loadQwen3Vl({
      ...settings.sections.vlm,
      model: directory,
      device: settings.device,
      ...(settings.precision === undefined ? {} : { precision: settings.precision }),
      signal,
      onProgress: (event) => progress.show(event),
      onWarning: (message) => complain(message),
    });
    progress.end();
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
    print(`模型   model   ${model.info.name} · ${model.info.device} · ${seconds} s`);
    return model;
  } finally {
    progress.end();
  }
}
