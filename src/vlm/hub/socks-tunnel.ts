// Connections through a SOCKS proxy. In: the proxy's address. Out: a connector for undici's agents. The proxy looks the
// names up, as it may see another network. It knows no hubs.

import { buildConnector } from "undici";
import { socksError } from "./proxy-error.ts";

/** Of proxies that name none. */
const USUAL_PORT = 1080;

/** @param proxy `socks5://`, `socks5h://`, `socks4://`, `socks4a://` or `socks://`, perhaps with a name and a password */
export function socksTunnel(proxy: string, timeoutMs: number): buildConnector.connector {
  const encrypt = buildConnector({ timeout: timeoutMs });
  return (options, callback) => {
    openTunnel(new URL(proxy), options, timeoutMs).then(
      (socket) => {
        if (options.protocol === "https:") encrypt({ ...options, httpSocket: socket }, callback);
        else callback(null, socket);
      },
      (error: unknown) =>
        callback(socksError(error, proxy, options.host ?? options.hostname), null),
    );
  };
}

async function openTunnel(
  proxy: URL,
  { hostname, port, protocol }: buildConnector.Options,
  timeout: number,
) {
  // Only for those who have such a proxy.
  const { SocksClient } = await import("socks");
  const { socket } = await SocksClient.createConnection({
    command: "connect",
    timeout,
    proxy: {
      host: bare(proxy.hostname),
      port: Number(proxy.port) || USUAL_PORT,
      type: proxy.protocol.startsWith("socks4") ? 4 : 5,
      ...(proxy.username === "" ? {} : { userId: decodeURIComponent(proxy.username) }),
      ...(proxy.password === "" ? {} : { password: decodeURIComponent(proxy.password) }),
    },
    destination: {
      host: bare(hostname),
      port: Number(port) || (protocol === "https:" ? 443 : 80),
    },
  });
  return socket.setNoDelay();
}

/** Addresses of IPv6 have brackets in URLs only. */
function bare(hostname: string): string {
  return hostname.replace(/^\[(.*)\]$/u, "$1");
}
