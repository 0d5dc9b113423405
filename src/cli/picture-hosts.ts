// What lies between this machine and QQ's picture hosts? In: host names. Out: for each, where its name leads and whether
// a connection comes about. It looks up and connects as the bot does, and sends nothing.

import { type LookupAddress, lookup as systemLookup } from "node:dns";
import net, { type LookupFunction } from "node:net";
import { settledWithin, untilAborted } from "../abort.ts";
import { isPublicAddress } from "../bot/images/image-url.ts";
import { isInventedByProxy } from "../bot/images/qq-hosts.ts";

/** Where nearly all pictures come from: messages of today, older ones, the sticker shop. */
export const PICTURE_HOSTS: readonly string[] = [
  "multimedia.nt.qq.com.cn",
  "gchat.qpic.cn",
  "gxh.vip.qq.com",
];

/**
 * - `reached`: a connection came about
 * - `no-dns`: nobody knows the name
 * - `private-address`: the name leads to a private network, where QQ is not
 * - `unreachable`: there is an address, and no connection to it
 */
export type PictureHostState = "reached" | "no-dns" | "private-address" | "unreachable";

export interface PictureHost {
  readonly host: string;
  readonly state: PictureHostState;
  /** The name leads to an address that a local proxy made up. */
  readonly throughProxy: boolean;
  /** First address, or the code of what failed. */
  readonly detail: string;
}

export interface ProbeOptions {
  readonly signal: AbortSignal;
  /** For a look-up, and once more for a connection. @default 4000 */
  readonly timeoutMs?: number;
  /** Replaces DNS in tests. */
  readonly lookup?: LookupFunction;
  /** @default 443 */
  readonly port?: number;
}

/** @throws {unknown} `signal.reason` when aborted, and nothing else. */
export async function probePictureHost(host: string, options: ProbeOptions): Promise<PictureHost> {
  const { signal, timeoutMs = 4000, lookup = systemLookup as LookupFunction, port = 443 } = options;
  const found = await settledWithin(untilAborted(lookUp(host, lookup), signal), timeoutMs);
  const none = { host, throughProxy: false };
  if (found === undefined) return { ...none, state: "no-dns", detail: "ETIMEOUT" };
  const [first] = found.addresses;
  if (first === undefined) return { ...none, state: "no-dns", detail: found.code };
  const others = found.addresses.filter(({ address }) => !isPublicAddress(address));
  const odd = others.find(({ address }) => !isInventedByProxy(address));
  if (odd !== undefined) return { ...none, state: "private-address", detail: odd.address };

  const throughProxy = others.length > 0;
  const connecting = new AbortController();
  const stop = AbortSignal.any([signal, connecting.signal]);
  const connected = tryConnect(found.addresses, host, port, stop);
  const code = await settledWithin(untilAborted(connected, signal), timeoutMs);
  connecting.abort();
  const reached = code === "";
  const detail = reached || throughProxy ? first.address : (code ?? "ETIMEDOUT");
  return { host, state: reached ? "reached" : "unreachable", throughProxy, detail };
}

interface Found {
  readonly addresses: readonly LookupAddress[];
  readonly code: string;
}

function lookUp(host: string, lookup: LookupFunction): Promise<Found> {
  return new Promise((resolve) => {
    lookup(host, { all: true }, (error, found) => {
      const code = error?.code ?? "ENODATA";
      resolve({ addresses: error === null && Array.isArray(found) ? found : [], code });
    });
  });
}

/** Resolves to `""`, or to the code of the failure. */
function tryConnect(
  addresses: readonly LookupAddress[],
  host: string,
  port: number,
  signal: AbortSignal,
): Promise<string> {
  return new Promise((resolve) => {
    const lookup: LookupFunction = (_host, { all }, callback) => {
      const [{ address = "", family = 4 } = {}] = addresses;
      if (all) callback(null, [...addresses]);
      else callback(null, address, family);
    };
    const autoSelectFamilyAttemptTimeout = 1000;
    const socket = net.connect({ host, port, lookup, signal, autoSelectFamilyAttemptTimeout });
    socket.once("connect", () => {
      resolve("");
      socket.destroy();
    });
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? "EIO"));
  });
}
