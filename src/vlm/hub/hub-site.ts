// Where a hub is, and who asks it. In: an address and perhaps a token. Out: what goes to this host and to no other.
// It knows no routes.

export interface HubSiteOptions {
  /** May have a path, as some mirrors do. */
  readonly endpoint: URL;
  readonly token?: string | undefined;
}

export abstract class HubSite {
  readonly host: string;
  readonly origin: string;
  readonly credentials: Readonly<Record<string, string>>;
  /** Of its address; empty at the top of a host, and without a slash at the end. */
  readonly basePath: string;
  /** Without a slash at the end. */
  protected readonly base: string;

  /** @param more headers that say who asks, beside the usual one */
  constructor(
    { endpoint, token }: HubSiteOptions,
    more: (token: string) => Readonly<Record<string, string>> = () => ({}),
  ) {
    this.host = endpoint.host;
    this.origin = endpoint.origin;
    this.base = endpoint.href.replace(/\/+$/, "");
    this.basePath = new URL(this.base).pathname.replace(/\/+$/, "");
    this.credentials =
      token === undefined ? {} : { authorization: `Bearer ${token}`, ...more(token) };
  }
}
