// How far into a network an address lies, and where a redirect may lead. In: addresses. Out: yes or no. A hub on the
// internet has no business inside somebody's home or cloud; a hub that was named at home has.

import { lookup } from "node:dns/promises";
import { BlockList, isIP } from "node:net";

export type Reach = "public" | "private" | "loopback" | "nowhere";

const RANGES: readonly (readonly [Exclude<Reach, "public">, readonly string[]])[] = [
  ["loopback", ["127.0.0.0/8", "::1/128"]],
  ["private", ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"]],
  // Clouds keep keys at 169.254.169.254. 198.18.0.0/15 is not here: proxies that invent addresses use it for all names.
  ["nowhere", ["0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/128", "fe80::/10", "ff00::/8"]],
];

const LISTS = RANGES.map(([reach, subnets]) => {
  const list = new BlockList();
  for (const subnet of subnets) {
    const [net = "", prefix = ""] = subnet.split("/");
    list.addSubnet(net, Number(prefix), net.includes(":") ? "ipv6" : "ipv4");
  }
  return [reach, list] as const;
});

/** @param address an IP address, as `dns.lookup` gives it */
export function reachOf(address: string): Reach {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address;
  const family = isIP(mapped) === 6 ? "ipv6" : "ipv4";
  return LISTS.find(([, list]) => list.check(mapped, family))?.[0] ?? "public";
}

/** May a hub at `hub` send somebody to `target`? To the internet, and to where it is itself. */
export function mayLead(hub: Reach, target: Reach): boolean {
  return target === "public" || (target === hub && target !== "nowhere");
}

/** The literal address in a URL; undefined where it holds a name. */
export function literalAddress({ hostname }: URL): string | undefined {
  if (hostname === "localhost" || hostname.endsWith(".localhost")) return "127.0.0.1";
  // The URL parser has brought octal, hexadecimal and short forms into this one.
  const bare = hostname.replace(/^\[|\]$/g, "");
  return isIP(bare) === 0 ? undefined : unmapped(bare);
}

/** `::ffff:7f00:1` is 127.0.0.1 in another spelling. */
function unmapped(address: string): string {
  const [, high = "", low = ""] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/i.exec(address) ?? [];
  if (high === "") return address;
  const [a, b] = [Number.parseInt(high, 16), Number.parseInt(low, 16)];
  return `${a >> 8}.${a & 255}.${b >> 8}.${b & 255}`;
}

/** Where a host is, as the system resolves it; `public` where it does not, as behind a proxy. */
export async function findReach(url: URL): Promise<Reach> {
  const literal = literalAddress(url);
  if (literal !== undefined) return reachOf(literal);
  try {
    return reachOf((await lookup(url.hostname)).address);
  } catch {
    return "public";
  }
}
