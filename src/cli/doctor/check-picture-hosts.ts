// Can pictures be fetched from QQ's hosts, and what stands between: DNS, a proxy, a firewall? And, when a link is given,
// does one picture come?

import { ImageFetchError } from "../../bot/errors.ts";
import { Downloader } from "../../bot/images/download.ts";
import { detectMediaType } from "../../vlm/index.ts";
import {
  PICTURE_HOSTS,
  type PictureHost,
  type PictureHostState,
  probePictureHost,
} from "../picture-hosts.ts";
import type { CheckContext, Finding, Text } from "./finding.ts";

const MAX_BYTES = 20 * 1024 * 1024;
const PICTURE_TIMEOUT_MS = 20_000;
const PROXY_VARIABLES = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"];

/** Worst first: the advice is about the first that is there. */
const ADVICE: Readonly<Record<Exclude<PictureHostState, "reached"> | "proxy-unreachable", Text>> = {
  "private-address": {
    zh: "DNS 把 QQ 的域名指到了内网地址（广告过滤、公司 DNS 或被劫持），图片会被拒绝。请换一个 DNS，例如 119.29.29.29",
    en: "DNS leads QQ's names to a private network (an ad blocker, a company's DNS, a hijack): pictures are refused. Use another DNS, such as 119.29.29.29.",
  },
  "no-dns": {
    zh: "域名查不到：这台机器没有联网，或 DNS 不可用。容器里请检查它的 DNS 设置",
    en: "The names are not found: this machine is not on the internet, or its DNS does not work. In a container, look at its DNS settings.",
  },
  "proxy-unreachable": {
    zh: "本机代理（Clash、mihomo、sing-box 的 fake-ip）编造了地址，但没有接管连接。请打开它的 TUN 模式，或把 qq.com.cn、qpic.cn、qq.com 加进 fake-ip-filter",
    en: "A local proxy (fake-ip of Clash, mihomo or sing-box) makes addresses up but does not carry the connections. Switch its TUN mode on, or add qq.com.cn, qpic.cn and qq.com to its fake-ip-filter.",
  },
  unreachable: {
    zh: "查得到地址但连不上 443 端口：可能被防火墙拦住，或出国、回国的线路不通",
    en: "There are addresses, but no connection to port 443: a firewall, or no way between abroad and the mainland.",
  },
};
const PROXY_NOTE: Text = {
  zh: "。环境变量里设置了代理，但下载图片不经过它",
  en: " A proxy is set in the environment; pictures are fetched without it.",
};

const PICTURE_ADVICE: Readonly<Partial<Record<ImageFetchError["code"], Text>>> = {
  "url-refused": {
    zh: "只下载 QQ 自己的主机和 --image-hosts 里的主机，内网地址不行",
    en: "Pictures come from QQ's own hosts and those of --image-hosts only, and from no private address.",
  },
  expired: {
    zh: "链接里的密钥过期或缺失。请从 NapCat 的日志里复制一个新的链接",
    en: "The key in the link is old or missing. Copy a fresh link from NapCat's log.",
  },
  "not-an-image": {
    zh: "来的不是图片，可能是代理或防火墙的网页",
    en: "What came is no picture: perhaps the page of a proxy or a firewall.",
  },
  network: {
    zh: "没有连上，见上一行",
    en: "There was no connection; see the line above.",
  },
};

export async function checkPictureHosts(context: CheckContext): Promise<readonly Finding[]> {
  const { signal, picture, pictureHosts: probe = probePictureHost } = context;
  const hosts = await Promise.all(PICTURE_HOSTS.map((host) => probe(host, { signal })));
  const line = describeHosts(hosts, context.settings.napcat !== undefined);
  return picture === undefined ? [line] : [line, await fetchPicture(picture, context)];
}

function describeHosts(hosts: readonly PictureHost[], needed: boolean): Finding {
  const what = { zh: "图片服务器", en: "Picture hosts" };
  const found = {
    zh: hosts.map((host) => describeHost(host, "zh")).join("，"),
    en: hosts.map((host) => describeHost(host, "en")).join(", "),
  };
  const causes = Object.keys(ADVICE) as (keyof typeof ADVICE)[];
  const cause = causes.find((cause) => hosts.some((host) => causeOf(host) === cause));
  if (cause === undefined) return { verdict: "ok", what, found };
  const hasProxy = PROXY_VARIABLES.some((name) => (process.env[name] ?? "") !== "");
  const advice = hasProxy ? joined(ADVICE[cause], PROXY_NOTE) : ADVICE[cause];
  return { verdict: needed ? "fail" : "warn", what, found, advice };
}

function causeOf({ state, throughProxy }: PictureHost) {
  return state === "unreachable" && throughProxy ? "proxy-unreachable" : state;
}

function describeHost({ host, state, throughProxy, detail }: PictureHost, language: "zh" | "en") {
  const words = {
    zh: { proxy: `经本机代理 ${detail}`, "private-address": `内网地址 ${detail}`, ok: "可达" },
    en: {
      proxy: `through a local proxy, ${detail}`,
      "private-address": `private address ${detail}`,
      ok: "reached",
    },
  }[language];
  const failed = state === "private-address" ? words["private-address"] : detail;
  if (state !== "reached") return `${host} ✗ (${throughProxy ? words.proxy : failed})`;
  return `${host} ${throughProxy ? `(${words.proxy})` : words.ok}`;
}

function joined(first: Text, second: Text): Text {
  const of = (text: Text, language: "zh" | "en") =>
    typeof text === "string" ? text : text[language];
  return {
    zh: of(first, "zh") + of(second, "zh"),
    en: of(first, "en") + of(second, "en"),
  };
}

/** Fetches the one picture of `--picture`, by the rules of the bot. */
async function fetchPicture(url: string, { settings, signal }: CheckContext): Promise<Finding> {
  const what = { zh: "试下图片", en: "Test picture" };
  const policy = { extraHosts: settings.imageHosts, allowPrivateAddresses: true };
  const downloader = new Downloader(policy);
  const deadline = AbortSignal.timeout(PICTURE_TIMEOUT_MS);
  const started = performance.now();
  try {
    const options = { maxBytes: MAX_BYTES, signal: AbortSignal.any([signal, deadline]) };
    const bytes = await downloader.download(url, options);
    const ms = Math.round(performance.now() - started);
    const found = `${detectMediaType(bytes)}, ${bytes.byteLength} B, ${ms} ms`;
    return { verdict: "ok", what, found };
  } catch (error) {
    signal.throwIfAborted();
    const code = error instanceof ImageFetchError ? error.code : "timed-out";
    const host = error instanceof ImageFetchError ? error.host : undefined;
    const status = error instanceof ImageFetchError ? error.status : undefined;
    const found = [host, code, status].filter((word) => word !== undefined).join(" ");
    const advice = PICTURE_ADVICE[code];
    return { verdict: "fail", what, found, ...(advice === undefined ? {} : { advice }) };
  } finally {
    await downloader.close();
  }
}
