// Which proxy a request goes through. In: an address and the environment. Out: the proxy's address, or none. It knows
// the variables as curl reads them, and nothing of requests.

/** `https_proxy`, `http_proxy`, `all_proxy`, and `no_proxy` with names, their ends and ports; small letters go first. */
export function proxyFor(url: URL, env: NodeJS.ProcessEnv): string | undefined {
  const read = (name: string) => env[name] ?? env[name.toUpperCase()] ?? "";
  const named = read(url.protocol === "http:" ? "http_proxy" : "https_proxy") || read("all_proxy");
  const proxy = named === "" || named.includes("://") ? named : `http://${named}`;
  if (!/^(https?|socks(4a?|5h?)?):\/\//i.test(proxy) || !URL.canParse(proxy)) return undefined;
  const exempt = read("no_proxy")
    .toLowerCase()
    .split(/[\s,]+/)
    .filter(Boolean);
  return exempt.some((entry) => covers(entry, url)) ? undefined : proxy;
}

function covers(entry: string, { hostname, host }: URL): boolean {
  if (entry === "*" || entry === hostname || entry === host) return true;
  return hostname.endsWith(`.${entry.replace(/^\*?\./, "")}`);
}
