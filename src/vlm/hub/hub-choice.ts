// Which hub a model is fetched from: the one that has it and answers first, the same one the next time. In: hubs. Out: a
// hub and its listing. It knows no files.

import { join } from "node:path";
import { z } from "zod";
import { startDeadline } from "../../abort.ts";
import { disk } from "../../disk.ts";
import { PullError } from "../errors.ts";
import type { Hub, HubContext, Listing } from "./hub.ts";

const REMEMBERED_FILE = "hub.json";
const REMEMBERED = z.looseObject({ host: z.string() });

export interface ChosenHub {
  readonly hub: Hub;
  readonly listing: Listing;
}

/** @param ask what a hub has */
export type AskHub = (hub: Hub, signal: AbortSignal) => Promise<Listing>;

/**
 * Hubs in the order of their answers: the remembered one first, then whichever of the others is fastest.
 *
 * @throws PullError of the hub that says most when none has the model
 */
export async function chooseHub(
  hubs: readonly Hub[],
  ask: AskHub,
  dir: string,
  signal: HubContext["signal"],
): Promise<ChosenHub> {
  const remembered = hubs.length > 1 ? await recall(dir) : undefined;
  const first = hubs.find(({ host }) => host === remembered);
  const failures: unknown[] = [];
  if (first !== undefined) {
    try {
      return { hub: first, listing: await ask(first, signal) };
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof PullError)) throw error;
      failures.push(error);
    }
  }
  const others = hubs.filter((hub) => hub !== first);
  const stop = startDeadline(undefined, signal);
  try {
    const chosen = await Promise.any(
      others.map(async (hub) => ({ hub, listing: await ask(hub, stop.signal) })),
    );
    if (hubs.length > 1) await remember(dir, chosen.hub);
    return chosen;
  } catch (error) {
    signal.throwIfAborted();
    throw mostTelling([...failures, ...(error instanceof AggregateError ? error.errors : [error])]);
  } finally {
    stop.abort(new DOMException("Another hub was faster.", "AbortError"));
  }
}

/** A hub that knows the model and refuses it says more than one that has none, and that more than silence. */
const TELLING = [
  "access-denied",
  "revision-not-found",
  "model-not-found",
  "hub-answer",
  "rate-limited",
  "hub-unreachable",
];

function mostTelling(failures: readonly unknown[]): unknown {
  const unforeseen = failures.find((failure) => !(failure instanceof PullError));
  if (unforeseen !== undefined) return unforeseen;
  const errors = failures.filter((failure) => failure instanceof PullError);
  const [best, ...others] = errors.toSorted(
    (a, b) => TELLING.indexOf(a.code) - TELLING.indexOf(b.code),
  );
  if (best === undefined || others.length === 0) return best;
  const { code, host, status, file } = best;
  const rest = others.map(({ message }) => message).join(" ");
  return new PullError(code, `${best.message} ${rest}`, { cause: best, host, status, file });
}

async function recall(dir: string): Promise<string | undefined> {
  try {
    return REMEMBERED.parse(JSON.parse(await disk.readText(join(dir, REMEMBERED_FILE)))).host;
  } catch {
    return undefined;
  }
}

async function remember(dir: string, { kind, host }: Hub): Promise<void> {
  const text = `${JSON.stringify({ hub: kind, host })}\n`;
  await disk.makeDirectory(dir);
  await disk.replaceFile(join(dir, REMEMBERED_FILE), text, { durable: false });
}
