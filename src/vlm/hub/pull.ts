// A pull from beginning to end. In: a name and options. Out: a model on this disk, converted. Its steps: which hub, which
// commit, which files, fetch, convert, clean up. Each is in a file of its own; whatever ends one of them, the next pull
// goes on from there.

import { disk } from "../../disk.ts";
import { packageVersion } from "../../package-root.ts";
import { readModelSettings } from "../checkpoint/open-checkpoint.ts";
import { withDiskTrouble } from "../convert/disk-trouble.ts";
import { defaultVisionPrecision } from "../convert/package-graphs.ts";
import { ModelLoadError, PullError } from "../errors.ts";
import {
  begunPlan,
  convertPulled,
  convertWhileComing,
  type PackagePlan,
  packageBytes,
  packageDevice,
  planPackage,
} from "./convert-pulled.ts";
import { ExistingFiles } from "./existing-files.ts";
import { type FetchedFiles, fetchFiles } from "./fetch-files.ts";
import { chooseGraphFiles, hasGraphs } from "./foreign-model.ts";
import { HttpClient } from "./http-client.ts";
import type { Hub, HubContext, Listing } from "./hub.ts";
import { chooseHub } from "./hub-choice.ts";
import { namedHubs } from "./hub-settings.ts";
import { type ModelRecord, ModelStore, type StoredModel } from "./model-store.ts";
import { neededFiles } from "./needed-files.ts";
import { proxyFor } from "./proxy.ts";
import { takeLock } from "./pull-lock.ts";
import {
  type PulledModel,
  type PullOptions,
  type ResolvedPullOptions,
  resolvePullOptions,
} from "./pull-options.ts";
import { findReach, literalAddress } from "./reach.ts";
import { type Pace, USUAL_PACE } from "./tries.ts";

/** Some CDNs refuse whoever does not say what they are. */
const USER_AGENT = `napcat-vlm/${packageVersion()} node/${process.versions.node}`;

/** @param pace for tests @throws as `pullModel` */
export async function pull(options: PullOptions, pace?: Partial<Pace>): Promise<PulledModel> {
  const resolved = resolvePullOptions(options);
  resolved.signal.throwIfAborted();
  const store = new ModelStore(resolved.modelsDir);
  const dir = store.modelDir(resolved.model);
  return withDiskTrouble(dir, async () => {
    await disk.makeDirectory(dir);
    const lock = await takeLock(dir, resolved.model, resolved.signal);
    const chosen = { ...usualPace(resolved.env), ...pace };
    const client = new HttpClient({ env: resolved.env, patienceMs: chosen.patienceMs });
    try {
      return await new Pull(resolved, store, client, chosen).run();
    } finally {
      await client.close();
      await lock.release();
    }
  });
}

/** What other programs for the same hub are told of slow lines. */
function usualPace(env: NodeJS.ProcessEnv): Pace {
  const seconds = Number(env.HF_HUB_DOWNLOAD_TIMEOUT ?? Number.NaN);
  const isTime = seconds >= 1 && seconds <= 3_600;
  return { ...USUAL_PACE, ...(isTime && { patienceMs: seconds * 1_000 }) };
}

/** Where a revision can be had. */
interface Source {
  /** undefined: from caches only. */
  readonly hub: Hub | undefined;
  readonly listing: Listing;
}

class Pull {
  readonly #options: ResolvedPullOptions;
  readonly #store: ModelStore;
  readonly #client: HttpClient;
  readonly #pace: Pace;
  readonly #existing: ExistingFiles;

  constructor(options: ResolvedPullOptions, store: ModelStore, client: HttpClient, pace: Pace) {
    this.#options = options;
    this.#store = store;
    this.#client = client;
    this.#pace = pace;
    this.#existing = new ExistingFiles(options.model, options.env);
  }

  async run(): Promise<PulledModel> {
    const { model, env, hub, onWarning } = this.#options;
    const before = await this.#store.find(model);
    const isOffline = /^(?:1|true|yes|on)$/i.test(env.HF_HUB_OFFLINE ?? "");
    let hubs = isOffline ? [] : await namedHubs({ hub, env, onWarning });
    for (;;) {
      const source = await this.#findSource(hubs, before);
      try {
        return await this.#pullFrom(source, before);
      } catch (error) {
        this.#options.signal.throwIfAborted();
        hubs = hubs.filter((other) => other !== source.hub);
        if (!isOfHub(error) || hubs.length === 0) throw error;
        onWarning(`${error.message} Another hub is tried.`);
      }
    }
  }

  async #pullFrom(source: Source, before: StoredModel | undefined): Promise<PulledModel> {
    const { model, convert, keepCheckpoint, onProgress } = this.#options;
    const { hub, listing } = source;
    const here = await this.#alreadyHere(source, before);
    if (here !== undefined) {
      if (before !== undefined) await this.#store.tidy(before);
      return here;
    }
    const modelDir = this.#store.modelDir(model);
    const dir = this.#store.snapshotDir(model, listing.revision);
    const record = this.#record(source);
    await this.#store.begin(record);
    onProgress({
      type: "resolved",
      model,
      hub: record.hub,
      host: record.host,
      revision: listing.revision,
      files: listing.files.length,
      totalBytes: listing.files.reduce((sum, { size }) => sum + size, 0),
    });
    let plan: PackagePlan | undefined;
    const fetched = await fetchFiles({
      model,
      hub,
      host: record.host,
      listing,
      dir,
      existing: this.#existing,
      context: await this.#context(hub),
      connections: this.#options.connections,
      onProgress,
      convert: async (weights) => {
        if (!convert) return undefined;
        await assertSupported(dir);
        plan =
          (await begunPlan(weights, modelDir, this.#options)) ??
          (await planPackage(dir, this.#options, this.#options.signal));
        if (keepCheckpoint) return undefined;
        return convertWhileComing(weights, modelDir, plan, this.#options);
      },
      choose: (files) => chooseGraphFiles(files, this.#options),
      packageBytes: (weightBytes) => (plan === undefined ? 0 : packageBytes(plan, weightBytes)),
    });
    const packageDir =
      plan === undefined || !fetched.isConvertible
        ? undefined
        : (fetched.packageDir ?? (await convertPulled(dir, modelDir, this.#options)));
    const isKept = keepCheckpoint || packageDir === undefined;
    await this.#settle(record, fetched, isKept, before);
    const isForeign = (await this.#store.get(model)).foreign !== undefined;
    return this.#result(record, packageDir ?? dir, isKept && !isForeign ? dir : undefined);
  }

  async #settle(
    record: ModelRecord,
    fetched: FetchedFiles,
    isKept: boolean,
    before: StoredModel | undefined,
  ): Promise<void> {
    const isSame = before?.foreign !== undefined && before.record?.revision === record.revision;
    const others = isSame ? (before.record?.files ?? []) : [];
    const files = new Map([...others, ...fetched.files].map((file) => [file.path, file]));
    await this.#store.complete({ ...record, files: [...files.values()] });
    await this.#store.removeSnapshots(record.name, isKept ? record.revision : undefined);
  }

  /** The same commit, in the form that is wanted. */
  async #alreadyHere(
    { listing }: Source,
    before: StoredModel | undefined,
  ): Promise<PulledModel | undefined> {
    const { convert, keepCheckpoint, precision, visionPrecision, device } = this.#options;
    const record = before?.record;
    if (before === undefined || record?.revision !== listing.revision) return undefined;
    if (before.foreign !== undefined) {
      const { directory } = before.foreign;
      const isHere = await hasGraphs(before.foreign, this.#options);
      return isHere ? this.#result(record, directory, undefined, true) : undefined;
    }
    if (keepCheckpoint && before.checkpoint === undefined) return undefined;
    if (!convert) return this.#result(record, before.checkpoint ?? "", before.checkpoint, true);
    const wanted = await packageDevice({ device, precision });
    const vision = visionPrecision ?? (precision && defaultVisionPrecision(precision, wanted));
    const fitting = before.packages.find(
      ({ manifest }) =>
        manifest.source.revision === listing.revision &&
        manifest.device === wanted &&
        manifest.precision.decoder === (precision ?? manifest.precision.decoder) &&
        manifest.precision.vision === (vision ?? manifest.precision.vision),
    );
    return fitting && this.#result(record, fitting.dir, before.checkpoint, true);
  }

  /** Which hub, and which commit. An interrupted pull goes on with the commit that it began with. */
  async #findSource(hubs: readonly Hub[], before: StoredModel | undefined): Promise<Source> {
    const { model, revision, onWarning, signal } = this.#options;
    const unfinished = before?.unfinished?.asked === revision ? before?.unfinished : undefined;
    const pace = { ...this.#pace, tries: hubs.length > 1 ? 2 : this.#pace.tries };
    const ask = async (hub: Hub, stop: AbortSignal): Promise<Listing> => {
      const context = { ...(await this.#context(hub)), signal: stop, pace };
      if (unfinished?.host === hub.host) {
        const pinned = await hub.list(context, model, unfinished.ref).catch((error) => {
          if (error instanceof PullError && error.code === "revision-not-found") return undefined;
          throw error;
        });
        if (pinned !== undefined) return pinned;
      }
      const listing = await hub.list(context, model, revision);
      // One that has nothing to convert has not the model.
      neededFiles(listing, model, hub.host);
      return listing;
    };
    try {
      if (hubs.length === 0) throw this.#offline();
      return await chooseHub(hubs, ask, this.#store.dir, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof PullError) || error.code !== "hub-unreachable") throw error;
      const listing = await this.#existing.listing(revision);
      if (listing === undefined) throw error;
      if (hubs.length > 0) onWarning(`${error.message} Hugging Face's cache on this disk is used.`);
      return { hub: undefined, listing };
    }
  }

  #offline(): PullError {
    const { model } = this.#options;
    return new PullError(
      "hub-unreachable",
      `HF_HUB_OFFLINE is set, and ${model} is not in Hugging Face's cache on this disk. Unset it, or fetch the model elsewhere.`,
    );
  }

  async #context(hub: Hub | undefined): Promise<HubContext> {
    const { signal, env, onProgress } = this.#options;
    const origin = hub === undefined ? undefined : new URL(hub.origin);
    // Where a name leads, a proxy decides; an address says it itself.
    const isNear =
      origin !== undefined &&
      (literalAddress(origin) !== undefined || proxyFor(origin, env) === undefined);
    return {
      client: this.#client,
      headers: { "user-agent": USER_AGENT },
      reach: isNear ? await findReach(origin) : "public",
      pace: this.#pace,
      signal,
      onWait: (waiting) => onProgress({ type: "wait", ...waiting }),
    };
  }

  #record({ hub, listing }: Source): ModelRecord {
    return {
      formatVersion: 1,
      name: this.#options.model,
      hub: hub?.kind ?? "hf",
      host: hub?.host ?? "cache",
      revision: listing.revision,
      ref: listing.ref,
      asked: this.#options.revision,
      files: [],
    };
  }

  #result(
    { name, revision, hub, host }: ModelRecord,
    path: string,
    checkpointDir: string | undefined,
    wasHere = false,
  ): PulledModel {
    return { name, path, revision, hub, host, checkpointDir, wasHere };
  }
}

/** What cannot be converted is known from config.json, before gigabytes are fetched. */
async function assertSupported(dir: string): Promise<void> {
  await readModelSettings(dir, { weightsComing: true }).catch((error: unknown) => {
    // The rest the weights may settle.
    if (error instanceof ModelLoadError && error.code === "model-unsupported") throw error;
  });
}

/** Trouble that another hub may not have. */
function isOfHub(error: unknown): error is PullError {
  return (
    error instanceof PullError &&
    ["hub-unreachable", "hub-answer", "rate-limited", "access-denied", "wrong-bytes"].includes(
      error.code,
    )
  );
}
