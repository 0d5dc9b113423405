// QQ's own hosts, and the addresses that local proxies invent for them. In: a host name, an address. Out: yes or no.
// It knows nothing of URLs or of how bytes are fetched.

import ipaddr from "ipaddr.js";

/**
 * Domains in which only Tencent can name a host, and from which QQ's pictures come: message servers
 * (multimedia.nt.qq.com.cn, gchat.qpic.cn, c2cpicdw.qpic.cn), sticker shops (gxh.vip.qq.com, i.gtimg.cn), avatars
 * (qlogo.cn), official bots (ugcimg.cn). Its cloud's domains are not among them: there anybody can rent a name.
 */
const QQ_DOMAINS: readonly string[] = [
  "qq.com",
  "qq.com.cn",
  "qpic.cn",
  "qlogo.cn",
  "gtimg.cn",
  "ugcimg.cn",
];

/** Is this host one of QQ's own? `gchat.qpic.cn` is, `gchat.qpic.cn.example.com` and `myqpic.cn` are not. */
export function isQqHost(hostname: string): boolean {
  const name = hostname.toLowerCase();
  return QQ_DOMAINS.some((domain) => name.endsWith(`.${domain}`));
}

/**
 * What Clash, mihomo and sing-box answer to every DNS question when they run with "fake-ip": an address of their own,
 * behind which they carry the connection to the real host. The first is the range for benchmarks, the others lie in
 * IPv6's private space.
 */
const INVENTED_RANGES = ["198.18.0.0/15", "fc00::/18", "fdfe:dcba:9876::/48"].map((range) =>
  ipaddr.parseCIDR(range),
);

/** Is this an address that a local proxy makes up? No real network of anybody uses these. */
export function isInventedByProxy(address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  const parsed = ipaddr.process(address);
  return INVENTED_RANGES.some(
    ([range, bits]) => range.kind() === parsed.kind() && parsed.match(range, bits),
  );
}
