// Which addresses nobody but this machine can reach. In: a host. Out: yes or no.

import { isIPv4 } from "node:net";

/** Is this address or name reachable from this machine only? Brackets of IPv6 are fine. */
export function isLoopback(host: string): boolean {
  const name = host.toLowerCase().replace(/^\[(.*)\]$/, "$1");
  return name === "localhost" || name === "::1" || (isIPv4(name) && name.startsWith("127."));
}
