// The way to QQ's picture hosts, played on the loopback: DNS answers as told, and whatever address comes out of the
// guarded look-up, the connection ends at a picture server. TLS is left out: names and addresses are what matters here.

import type { LookupAddress } from "node:dns";
import net, { type LookupFunction, type Socket, type TcpNetConnectOpts } from "node:net";
import tls from "node:tls";
import { vi } from "vitest";

export interface QqNetwork {
  /** What every connection was asked for. */
  readonly connections: readonly (TcpNetConnectOpts & { readonly secure: boolean })[];
  /** Names that were looked up. */
  readonly lookups: readonly string[];
  /** To be given to a downloader. */
  readonly lookup: LookupFunction;
  restore(): void;
}

/** Leads every connection to the picture server at `host`; every name is at `addresses`. */
export function playQqNetwork(
  server: string,
  addresses: readonly string[] = ["203.205.254.1"],
): QqNetwork {
  const connections: (TcpNetConnectOpts & { readonly secure: boolean })[] = [];
  const lookups: string[] = [];
  const lookup: LookupFunction = (hostname, _options, callback) => {
    lookups.push(hostname);
    const found: LookupAddress[] = addresses.map((address) => ({
      address,
      family: net.isIP(address),
    }));
    callback(null, found);
  };
  const realConnect = net.connect;
  const [host = "", port = ""] = server.split(":");
  const connect =
    (secure: boolean) =>
    (options: TcpNetConnectOpts): Socket => {
      connections.push({ ...options, secure });
      // The question Node asks before it connects to a name; a refusal fails the connection as it does there.
      const guarded: LookupFunction = (_name, question, callback) =>
        options.lookup?.(options.host ?? "", { ...question, all: true }, (error) => {
          if (error !== null) callback(error, "");
          else callback(null, question.all ? [{ address: host, family: 4 }] : host, 4);
        });
      const socket = realConnect({ host: "qq.invalid", port: Number(port), lookup: guarded });
      if (secure) socket.once("connect", () => socket.emit("secureConnect"));
      return socket;
    };
  const spies = [
    vi.spyOn(net, "connect").mockImplementation(connect(false) as typeof net.connect),
    vi.spyOn(tls, "connect").mockImplementation(connect(true) as unknown as typeof tls.connect),
  ];
  return {
    connections,
    lookups,
    lookup,
    restore: () => {
      for (const spy of spies) spy.mockRestore();
    },
  };
}
