import { createHash, randomBytes } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { download } from "../../../src/cli/setup-cuda/download.ts";
import {
  type Answer,
  type FileServer,
  sendFile,
  startFileServer,
} from "../../support/file-server.ts";
import { NOBODY } from "../../support/nobody.ts";
import { tempDir } from "../../support/temp-dir.ts";

const DATA = randomBytes(1_000_000);
const SHA256 = createHash("sha256").update(DATA).digest("hex");
const signal = new AbortController().signal;

let dir: string;
const servers: FileServer[] = [];
beforeEach(async () => {
  dir = await tempDir();
});
afterEach(async () => {
  vi.restoreAllMocks();
  for (const server of servers.splice(0)) await server.close();
});

async function serve(answer: Answer): Promise<FileServer> {
  const server = await startFileServer(answer);
  servers.push(server);
  return server;
}

const fetched = (url: string, options: Partial<Parameters<typeof download>[2]> = {}) =>
  download(new URL(url), join(dir, "file"), { signal, pauseMs: 1, env: {}, ...options });

const stored = () => readFile(join(dir, "file"));

describe("download", () => {
  it("brings a file, its hash, and how far it is; nothing else is left", async () => {
    const { url } = await serve((request, response) => sendFile(request, response, DATA));
    const seen: [number, number | undefined][] = [];
    const sha256 = await fetched(`${url}/f`, { onProgress: (...step) => seen.push(step) });
    expect(sha256).toBe(SHA256);
    expect(await stored()).toEqual(DATA);
    expect(seen.at(-1)).toEqual([DATA.length, DATA.length]);
    expect(await readdir(dir)).toEqual(["file"]);
  });

  it("follows redirects to other places", async () => {
    const { url, asked } = await serve((request, response) => {
      if (request.url === "/c") sendFile(request, response, DATA);
      else response.writeHead(302, { location: request.url === "/a" ? "b" : "/c" }).end("moved");
    });
    await fetched(`${url}/a`);
    expect(asked).toEqual(["/a", "/b", "/c"]);
  });

  it("goes on where the line broke, as often as something comes", async () => {
    const { url, asked } = await serve((request, response, count) =>
      sendFile(request, response, DATA, count < 8 ? { most: 100_000 } : {}),
    );
    expect(await fetched(`${url}/f`)).toBe(SHA256);
    expect(await stored()).toEqual(DATA);
    expect(asked.length).toBe(8);
    expect(asked.slice(1).every((line) => /^\/f \d+-$/.test(line))).toBe(true);
  });

  it("goes on in a later run", async () => {
    let whole = false;
    const { url, asked } = await serve((request, response, count) => {
      if (!whole && count > 1) response.socket?.destroy();
      else sendFile(request, response, DATA, whole ? {} : { most: 400_000 });
    });
    await expect(fetched(`${url}/f`)).rejects.toMatchObject({ name: "DownloadError" });
    whole = true;
    expect(await fetched(`${url}/f`)).toBe(SHA256);
    expect(asked.at(-1)).toMatch(/^\/f [1-9]\d*-$/);
  });

  it("begins again when the file is another one by now, or the server knows no ranges", async () => {
    const other = randomBytes(500_000);
    const { url } = await serve((request, response, count) => {
      if (count === 1) sendFile(request, response, DATA, { most: 300_000 });
      else sendFile(request, response, other, { headers: { etag: '"two"' } });
    });
    await fetched(`${url}/f`);
    expect(await stored()).toEqual(other);
    await writeFile(join(dir, "file.part"), "left by a server without tags");
    const simple = await serve((_request, response) => response.end(DATA));
    await fetched(`${simple.url}/f`);
    expect(await stored()).toEqual(DATA);
  });

  it.each([
    ["the one that was asked for", { sha256: "0".repeat(64) }, {}],
    ["the one that the server promised", {}, { "x-ms-meta-sha512": "AAAA" }],
  ])("throws away what has another hash than %s", async (_which, options, headers) => {
    const { url } = await serve((request, response) =>
      sendFile(request, response, DATA, { headers }),
    );
    const fetching = fetched(`${url}/f`, options);
    await expect(fetching).rejects.toMatchObject({ problem: "wrong-hash" });
    await expect(fetching).rejects.toThrow(SHA256);
    expect((await readdir(dir)).filter((name) => !name.endsWith(".tag"))).toEqual([]);
    const promised = createHash("sha512").update(DATA).digest("base64");
    const right = await serve((request, response) =>
      sendFile(request, response, DATA, { headers: { "x-ms-meta-sha512": promised } }),
    );
    expect(await fetched(`${right.url}/f`, { sha256: SHA256.toUpperCase() })).toBe(SHA256);
  });

  it("says at once that a file is not there, and tries a server again that is busy", async () => {
    const { url, asked } = await serve((request, response, count) => {
      if (request.url?.startsWith("/gone")) response.writeHead(404).end();
      else if (count < 4) response.writeHead(503).end();
      else sendFile(request, response, DATA);
    });
    await expect(fetched(`${url}/gone?key=secret`)).rejects.toThrow(
      /^127\.0\.0\.1:\d+ answered HTTP 404\.$/,
    );
    expect(asked.length).toBe(1);
    expect(await fetched(`${url}/f`)).toBe(SHA256);
  });

  it("names the host that cannot be reached", async () => {
    await expect(fetched(`http://${NOBODY}/f`)).rejects.toThrow(
      /^127\.0\.0\.1:2 cannot be reached \(ECONNREFUSED\)\.$/,
    );
  });

  it("ends with the reason of an abort", async () => {
    const controller = new AbortController();
    const { url } = await serve((request, response) => {
      sendFile(request, response, DATA, { most: 1_000 });
      controller.abort(new Error("stop"));
    });
    await expect(fetched(`${url}/f`, { signal: controller.signal })).rejects.toThrow("stop");
  });

  it("goes through the proxy that the environment names, but not to hosts that it exempts", async () => {
    const { url } = await serve((request, response) => sendFile(request, response, DATA));
    const tunnels: string[] = [];
    const proxy = createServer().on("connect", (request, socket) => {
      tunnels.push(request.url ?? "");
      const [host, port] = (request.url ?? "").split(":");
      const line = connect(Number(port), host, () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        line.pipe(socket).pipe(line);
      });
    });
    proxy.listen(0, "127.0.0.1");
    await new Promise((resolve) => proxy.once("listening", resolve));
    const http_proxy = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    await fetched(`${url}/f`, { env: { http_proxy } });
    await fetched(`${url}/f`, {
      env: { HTTP_PROXY: http_proxy, NO_PROXY: "example.com, 127.0.0.1" },
    });
    expect(tunnels).toEqual([new URL(url).host]);
    proxy.closeAllConnections();
    proxy.close();
  });
});

describe("a redirect from https", () => {
  /** A client for which every answer is this redirect. */
  const everyGet = (location: string) => ({
    client: {
      get: async () => ({ status: 302, headers: { location }, body: new PassThrough() }),
    },
  });

  it("to http is refused", async () => {
    const redirect = everyGet("http://nuget.example.cn/x?sig=secret");
    const fetching = fetched("https://api.nuget.org/x", redirect);
    await expect(fetching).rejects.toThrow(
      /^api\.nuget\.org answered HTTP 302 to http:\/\/nuget\.example\.cn, which is not https\.$/,
    );
  });

  it("that never ends is named", async () => {
    const redirect = everyGet("https://nuget.azure.cn/x");
    await expect(fetched("https://api.nuget.org/x", redirect)).rejects.toThrow(
      "api.nuget.org answered HTTP 302 6 times, last to nuget.azure.cn, and led nowhere.",
    );
  });
});
