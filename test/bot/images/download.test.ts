import { afterEach, describe, expect, it } from "vitest";
import { Downloader } from "../../../src/bot/images/download.ts";
import { PIXEL_PNG } from "../../support/events.ts";
import {
  expired,
  type PictureHandler,
  type PictureServer,
  startPictureServer,
} from "../../support/picture-server.ts";

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

async function setUp(handlers: Readonly<Record<string, PictureHandler | Uint8Array>>) {
  const server = await startPictureServer(handlers);
  const downloader = new Downloader({ extraHosts: [server.host], allowPrivateAddresses: true });
  cleanups.push(
    () => downloader.close(),
    () => server.close(),
  );
  const download = (path: string, signal = new AbortController().signal) =>
    downloader.download(server.url(path), { maxBytes: 1000, signal });
  return { server, download };
}

async function untilNoConnections(server: PictureServer): Promise<void> {
  while ((await server.openConnections()) > 0) await new Promise(setImmediate);
}

describe("Downloader", () => {
  it("downloads a picture", async () => {
    const { download } = await setUp({ "/cat": PIXEL_PNG });
    expect(new Uint8Array(await download("/cat"))).toEqual(PIXEL_PNG);
  });

  it.each<[string, PictureHandler | Uint8Array, object]>([
    ["an expired link", expired, { code: "expired", status: 400 }],
    [
      "a forbidden one",
      (_, response) => response.writeHead(403).end("no"),
      { code: "http-status", status: 403 },
    ],
    [
      "JSON with status 200",
      (_, response) => response.end('{"retcode":0}'),
      { code: "not-an-image" },
    ],
    ["a web page", (_, response) => response.end("<!doctype html><p>hi"), { code: "not-an-image" }],
    [
      "a drawing in SVG",
      (_, response) => response.end('<svg xmlns="http://www.w3.org/2000/svg"/>'),
      { code: "not-an-image" },
    ],
    ["nothing", new Uint8Array(0), { code: "not-an-image" }],
    [
      "too much",
      Buffer.concat([PIXEL_PNG, Buffer.alloc(2000)]),
      { code: "too-large", maxBytes: 1000 },
    ],
    ["a broken connection", (request) => request.socket.destroy(), { code: "network" }],
  ])("says why when it gets %s", async (_name, handler, expected) => {
    const { download } = await setUp({ "/x": handler });
    await expect(download("/x")).rejects.toMatchObject({ name: "ImageFetchError", ...expected });
  });

  it("stops reading a body without end, and closes its connection", async () => {
    let written = 0;
    const { server, download } = await setUp({
      "/endless": (_request, response) => {
        const more = () => {
          written += 100;
          if (response.write(Buffer.alloc(100, 0xff))) setImmediate(more);
        };
        response.on("drain", more);
        more();
      },
    });
    await expect(download("/endless")).rejects.toMatchObject({ code: "too-large" });
    await untilNoConnections(server);
    // Socket buffers take more than the limit, but not without end.
    expect(written).toBeLessThan(50_000_000);
  });

  it("does not believe a server that lies about the length", async () => {
    const { server, download } = await setUp({
      "/lies": (_request, response) => {
        response.writeHead(200, { "content-length": 5_000_000 });
        response.write(PIXEL_PNG);
      },
    });
    await expect(download("/lies")).rejects.toMatchObject({ code: "too-large" });
    await untilNoConnections(server);
  });

  it("rejects with the reason when aborted in mid-download", async () => {
    const controller = new AbortController();
    const { server, download } = await setUp({
      "/drip": (_request, response) => {
        response.write(PIXEL_PNG.slice(0, 8));
        controller.abort("recalled");
      },
    });
    await expect(download("/drip", controller.signal)).rejects.toBe("recalled");
    await untilNoConnections(server);
  });

  it("follows a redirect to an allowed host, and none to another", async () => {
    const { server, download } = await setUp({
      "/moved": (_request, response) => response.writeHead(302, { location: "/cat" }).end(),
      "/inside": (_request, response) =>
        response.writeHead(302, { location: "http://169.254.169.254/latest" }).end(),
      "/file": (_request, response) =>
        response.writeHead(302, { location: "file:///etc/passwd" }).end(),
      "/loop": (_request, response) => response.writeHead(302, { location: "/loop" }).end(),
      "/cat": PIXEL_PNG,
    });
    await expect(download("/moved")).resolves.toHaveLength(PIXEL_PNG.length);
    await expect(download("/inside")).rejects.toMatchObject({ code: "url-refused" });
    await expect(download("/file")).rejects.toMatchObject({ code: "url-refused" });
    await expect(download("/loop")).rejects.toMatchObject({ code: "http-status" });
    expect(server.requests.filter((path) => path === "/loop")).toHaveLength(4);
  });

  it("connects to the address its guarded look-up found", async () => {
    const server = await startPictureServer({ "/": PIXEL_PNG });
    const host = `pictures.example.com:${new URL(server.url("/")).port}`;
    const downloader = new Downloader(
      { extraHosts: [host], allowPrivateAddresses: true },
      (_name, _options, callback) => callback(null, [{ address: "127.0.0.1", family: 4 }]),
    );
    cleanups.push(
      () => downloader.close(),
      () => server.close(),
    );
    const { signal } = new AbortController();
    const options = { maxBytes: 1000, signal };
    await expect(downloader.download(`http://${host}/`, options)).resolves.toHaveLength(
      PIXEL_PNG.length,
    );
  });

  it("does not connect to a name that leads to a private network (DNS rebinding)", async () => {
    const server = await startPictureServer({ "/": PIXEL_PNG });
    const { port } = new URL(server.url("/"));
    const host = `rebound.example.com:${port}`;
    const downloader = new Downloader(
      { extraHosts: [host], allowPrivateAddresses: false },
      (_name, _options, callback) => callback(null, [{ address: "127.0.0.1", family: 4 }]),
    );
    cleanups.push(
      () => downloader.close(),
      () => server.close(),
    );
    const { signal } = new AbortController();
    await expect(
      downloader.download(`http://${host}/`, { maxBytes: 1000, signal }),
    ).rejects.toMatchObject({ code: "url-refused" });
    expect(server.requests).toEqual([]);
  });

  it("does not show keys of a link in its errors", async () => {
    const { download } = await setUp({ "/x?rkey=CANARY": expired });
    const error = await download("/x?rkey=CANARY").catch((error: Error) => error);
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain("CANARY");
  });
});
