import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { pull } from "../../../src/vlm/hub/pull.ts";
import type { PullOptions } from "../../../src/vlm/hub/pull-options.ts";
import type { PullProgress } from "../../../src/vlm/hub/pull-progress.ts";
import { inShards, madeUpFiles, tinyChatFiles } from "../../support/model-files.ts";
import {
  envelope,
  gitSha1Of,
  json,
  type ModelHub,
  type ModelHubOptions,
  refuse,
  sendPart,
  sha256Of,
  startModelHub,
} from "../../support/model-hub.ts";
import { NOBODY } from "../../support/nobody.ts";
import { startSocksServer } from "../../support/socks-server.ts";
import { tempDir } from "../../support/temp-dir.ts";

const PACE = { pauseMs: 1, patienceMs: 60_000 };

let dir: string;
let hub: ModelHub;
beforeEach(async () => {
  dir = await tempDir();
});
afterEach(() => hub?.close());

async function serve(options: ModelHubOptions): Promise<ModelHub> {
  hub = await startModelHub(options);
  return hub;
}

/** Without conversion: these tests are about what comes over the line. */
function fetched(
  options: Partial<PullOptions> & { readonly variables?: Record<string, string> } = {},
  pace: Parameters<typeof pull>[1] = {},
) {
  const { variables, ...others } = options;
  return pull(
    {
      model: hub.model,
      convert: false,
      modelsDir: join(dir, "models"),
      env: {
        HF_ENDPOINT: hub.url,
        HF_HOME: join(dir, "hf"),
        MODELSCOPE_CACHE: join(dir, "ms"),
        ...variables,
      },
      onWarning: () => {},
      ...others,
    },
    { ...PACE, ...pace },
  );
}

const viaModelScope = () => ({ variables: { HF_ENDPOINT: "", MODELSCOPE_ENDPOINT: hub.url } });

/** Every file that was pulled, and nothing that is not whole. */
function expectWhole(path: string, files: Readonly<Record<string, Buffer>>): void {
  for (const name of readdirSync(path)) {
    expect(name).not.toMatch(/\.part|\.new|\.ranges/);
    expect(readFileSync(join(path, name)).equals(files[name] ?? Buffer.alloc(0)), name).toBe(true);
  }
}

describe("a pull", () => {
  it("brings what a conversion reads, and nothing else, by commit and with every hash", async () => {
    const files = tinyChatFiles();
    await serve({ files, pageSize: 3 });
    const seen: PullProgress[] = [];
    const pulled = await fetched({ onProgress: (progress) => seen.push(progress) });
    expect(pulled).toMatchObject({
      name: hub.model,
      revision: hub.commit,
      hub: "hf",
      wasHere: false,
    });
    expectWhole(pulled.path, files);
    expect(readdirSync(pulled.path)).toContain("model.safetensors");
    expect(readdirSync(pulled.path)).not.toContain("pytorch_model.bin");
    expect(hub.asked.filter((line) => line === "list revision")).toHaveLength(1);
    const total = readdirSync(pulled.path).reduce(
      (sum, name) => sum + (files[name]?.byteLength ?? 0),
      0,
    );
    const last = seen.filter(({ type }) => type === "download").at(-1);
    expect(last).toMatchObject({ doneBytes: total, totalBytes: total, secondsLeft: 0 });
  });

  it("does the same with ModelScope", async () => {
    const files = madeUpFiles(300_000);
    await serve({ files, ranges: "200 with Content-Range" });
    const pulled = await fetched(viaModelScope());
    expect(pulled).toMatchObject({ hub: "modelscope", revision: hub.commit });
    expectWhole(pulled.path, files);
  });

  it("that was killed at its very end is complete, and leaves no note behind", async () => {
    await serve({ files: madeUpFiles(100_000) });
    await fetched();
    const models = join(dir, "models", "models--Test--Tiny");
    const record = readFileSync(join(models, "model.json"));
    writeFileSync(join(models, "pull.json"), record);
    mkdirSync(join(models, "snapshots", "0".repeat(40)));
    expect(await fetched()).toMatchObject({ wasHere: true });
    expect(readdirSync(models).toSorted()).toEqual(["model.json", "snapshots"]);
    expect(readdirSync(join(models, "snapshots"))).toEqual([hub.commit]);
  });

  it("asks for nothing a second time when everything is here", async () => {
    await serve({ files: madeUpFiles(100_000) });
    await fetched();
    hub.asked.length = 0;
    expect(await fetched()).toMatchObject({ wasHere: true });
    expect(hub.asked.every((line) => line.startsWith("list"))).toBe(true);
  });

  it.each(["206", "200 with Content-Range", "none"] as const)(
    "takes a file of several pieces from a CDN that answers ranges with %s",
    async (ranges) => {
      const files = madeUpFiles(40_000_000);
      await serve({ files, ranges });
      const seen: PullProgress[] = [];
      expectWhole((await fetched({ onProgress: (each) => seen.push(each) })).path, files);
      const downloads = seen.filter((each) => each.type === "download");
      expect(downloads.at(-1)).toMatchObject({ secondsLeft: 0 });
      for (const each of downloads) {
        expect(each.doneBytes).toBeLessThanOrEqual(each.totalBytes);
        expect(each.fileBytes).toBeLessThanOrEqual(each.fileTotalBytes);
      }
      const parts = hub.asked.filter((line) => line.startsWith("cdn model.safetensors"));
      expect(parts.length).toBe(ranges === "none" ? 1 : 3);
    },
  );

  it("goes through a proxy as a whole, but for hosts that need none", async () => {
    const files = madeUpFiles(100_000);
    await serve({ files });
    const seen: string[] = [];
    const proxy = createServer().on("connect", (request, socket) => {
      seen.push(request.url ?? "");
      const line = connect(Number(request.url?.split(":")[1]), "127.0.0.1", () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        line.pipe(socket).pipe(line);
      });
      line.on("error", () => socket.destroy());
      socket.on("error", () => line.destroy());
    });
    proxy.listen(0, "127.0.0.1");
    await once(proxy, "listening");
    const variables = { HTTP_PROXY: `127.0.0.1:${(proxy.address() as AddressInfo).port}` };
    expectWhole((await fetched({ variables })).path, files);
    expect(new Set(seen)).toEqual(new Set([new URL(hub.url).host, new URL(hub.cdnUrl).host]));
    seen.length = 0;
    const direct = { ...variables, NO_PROXY: "example.com,127.0.0.1" };
    await fetched({ variables: direct, modelsDir: join(dir, "direct") });
    expect(seen).toEqual([]);
    proxy.closeAllConnections();
    proxy.close();
  });

  it("goes through a SOCKS proxy as a whole, and says of a dead one that it is that", async () => {
    const files = madeUpFiles(100_000);
    await serve({ files });
    const proxy = await startSocksServer("me:word");
    const variables = { ALL_PROXY: `socks5://me:word@127.0.0.1:${proxy.port}` };
    expectWhole((await fetched({ variables })).path, files);
    expect(new Set(proxy.asked)).toEqual(
      new Set([new URL(hub.url).host, new URL(hub.cdnUrl).host]),
    );
    await proxy.close();
    const dead = { ALL_PROXY: `socks5://me:word@${NOBODY}` };
    const error: unknown = await fetched({
      variables: dead,
      modelsDir: join(dir, "dead"),
    }).catch((e) => e);
    const { host } = new URL(hub.url);
    expect(error).toMatchObject({
      code: "hub-unreachable",
      host,
      message: expect.stringContaining(
        `The proxy ${NOBODY} cannot be reached (ECONNREFUSED). Mend HTTPS_PROXY, or name ${host} in NO_PROXY`,
      ),
    });
    expect(inspect(error, { depth: 9 })).not.toContain("word@");
  });

  it("sends the token to the hub and never to the CDN", async () => {
    await serve({ files: madeUpFiles(100_000) });
    await fetched({ variables: { HF_TOKEN: "hf_secret" } });
    const by = (place: string) => hub.seen.filter((each) => each.place === place);
    expect(by("list").every(({ headers }) => headers.authorization === "Bearer hf_secret")).toBe(
      true,
    );
    expect(by("cdn").length).toBeGreaterThan(0);
    for (const { headers } of by("cdn")) {
      expect(headers.authorization).toBeUndefined();
      expect(headers.cookie).toBeUndefined();
      expect(headers["user-agent"]).toMatch(/^napcat-vlm\//);
    }
    await fetched({ ...viaModelScope(), modelsDir: join(dir, "other") });
  });
});

describe("an interruption", () => {
  const data = randomBytes(3_000_000);
  const files = { ...madeUpFiles(1), "model.safetensors": data };

  it.each([0, 1, 1_000, 65_536, 1_500_000, 2_999_999])(
    "after %i bytes costs nothing that came, but for what a slow disk held back",
    async (most) => {
      await serve({
        files,
        fault: (exchange) => {
          if (exchange.place !== "cdn" || exchange.count > 1) return false;
          sendPart(exchange, "206", most);
          return true;
        },
      });
      expectWhole((await fetched()).path, files);
      const [, second] = hub.asked.filter((line) => line.startsWith("cdn"));
      const [, start, end] = /^cdn model\.safetensors (\d+)-(\d+)$/u.exec(second ?? "") ?? [];
      expect(end).toBe("2999999");
      // A line is held back where many chunks wait to be written; what lies in its buffers is lost with it.
      const mayLie = most > 65_536 ? 2 ** 19 : 0;
      expect(Number(start)).toBeLessThanOrEqual(most);
      expect(Number(start)).toBeGreaterThanOrEqual(most - mayLie);
    },
  );

  it("of the whole pull is gone on with by the next, with the same commit and at the same byte", async () => {
    const controller = new AbortController();
    await serve({
      files,
      fault: (exchange) => {
        if (exchange.place !== "cdn" || exchange.count > 1) return false;
        sendPart({ ...exchange, data: data.subarray(0) }, "206", 1_234_567);
        exchange.response.on("close", () => controller.abort(new Error("enough")));
        return true;
      },
    });
    await expect(fetched({ signal: controller.signal })).rejects.toThrow("enough");
    const [snapshot = ""] = readdirSync(join(dir, "models", "models--Test--Tiny", "snapshots"));
    const names = readdirSync(join(dir, "models", "models--Test--Tiny", "snapshots", snapshot));
    expect(names).toContain("model.safetensors.part");
    expect(names).not.toContain("model.safetensors");
    // What the journal says is there; the last bytes may have been on the way.
    const journal = join(dir, "models", "models--Test--Tiny", "snapshots", snapshot);
    const lines = readFileSync(join(journal, "model.safetensors.part.ranges"), "utf8").split("\n");
    const came = Math.max(0, ...lines.slice(1).map((line) => Number(line.split(" ")[1] ?? 0)));
    hub.asked.length = 0;
    expectWhole((await fetched()).path, files);
    expect(hub.asked).toContain(`cdn model.safetensors ${came}-2999999`);
    expect(hub.asked.filter((line) => line.startsWith("small"))).toEqual([]);
  });

  it("is gone on with by its own commit, though the branch has moved meanwhile", async () => {
    const controller = new AbortController();
    await serve({
      files,
      fault: (exchange) => {
        if (exchange.place !== "cdn") return false;
        sendPart(exchange, "206", 500_000);
        exchange.response.on("close", () => controller.abort(new Error("enough")));
        return true;
      },
    });
    await expect(fetched({ signal: controller.signal })).rejects.toThrow("enough");
    hub.fault = ({ url, response }) => {
      if (!url.pathname.endsWith("/revision/main")) return false;
      json(response, 200, { sha: "a".repeat(40) });
      return true;
    };
    const pulled = await fetched();
    expect(pulled.revision).toBe(hub.commit);
    expectWhole(pulled.path, files);
  });

  it("begins again where the server knows no ranges", async () => {
    await serve({
      files,
      ranges: "none",
      fault: (exchange) => {
        if (exchange.place !== "cdn" || exchange.count > 2) return false;
        sendPart(exchange, "none", 1_000_000 * exchange.count);
        return true;
      },
    });
    expectWhole((await fetched()).path, files);
  });

  it("asks for a new link when the signed one has expired", async () => {
    const large = { ...files, "model.safetensors": randomBytes(70_000_000) };
    await serve({ files: large, linkUses: 2 });
    expectWhole((await fetched({ connections: 2 })).path, large);
    expect(hub.asked.filter((line) => line === "resolve model.safetensors").length).toBeGreaterThan(
      1,
    );
  });

  it("by a hub is no end where another has the same file", async () => {
    await serve({
      files,
      fault: ({ place, url, response }) => {
        if (place !== "resolve" || url.pathname.startsWith("/api/v1/")) return false;
        response.writeHead(503).end();
        return true;
      },
    });
    const other = await startModelHub({ files });
    const variables = { HF_ENDPOINT: hub.url, MODELSCOPE_ENDPOINT: other.url };
    const warnings: string[] = [];
    writeHubMemory(new URL(hub.url).host);
    const pulled = await fetched({ variables, onWarning: (line) => warnings.push(line) });
    expect(pulled).toMatchObject({ hub: "modelscope" });
    expect(warnings.join()).toContain("Another hub is tried.");
    await other.close();
  });

  function writeHubMemory(host: string): void {
    const models = join(dir, "models");
    mkdirSync(models, { recursive: true });
    writeFileSync(join(models, "hub.json"), JSON.stringify({ hub: "hf", host }));
  }
});

describe("what a server sends wrongly", () => {
  const files = madeUpFiles(200_000);
  const good = files["model.safetensors"] ?? Buffer.alloc(0);

  it("is fetched once more, and then refused, with nothing left", async () => {
    const flipped = Buffer.from(good);
    flipped[1_000] = (flipped[1_000] ?? 0) ^ 1;
    await serve({
      files,
      fault: (exchange) => {
        if (exchange.place !== "cdn") return false;
        sendPart({ ...exchange, data: flipped });
        return true;
      },
    });
    await expect(fetched()).rejects.toMatchObject({
      code: "wrong-bytes",
      file: "model.safetensors",
    });
    expect(hub.asked.filter((line) => line.startsWith("cdn"))).toHaveLength(2);
    const snapshot = join(dir, "models", "models--Test--Tiny", "snapshots", hub.commit);
    expect(readdirSync(snapshot).some((name) => name.startsWith("model.safetensors"))).toBe(false);
  });

  it.each([
    ["another part than was asked for", 206, { "content-range": "bytes 5-200004/200005" }],
    ["a part of another total", 206, { "content-range": "bytes 0-199999/300000" }],
    ["a part of nonsense", 206, { "content-range": "bytes all of it" }],
    ["a part without saying which", 206, {}],
    ["a web page", 200, { "content-type": "text/html", "content-length": "99" }],
    ["too much", 200, { "content-length": "900000" }],
    ["nothing that fits", 416, { "content-range": "bytes */10" }],
  ])("such as %s is tried again", async (_what, status, headers) => {
    await serve({
      files,
      fault: ({ place, count, response }) => {
        if (place !== "cdn" || count > 2) return false;
        response.writeHead(status, headers);
        response.end(
          status === 416
            ? undefined
            : Buffer.alloc("content-length" in headers ? Number(headers["content-length"]) : 64),
        );
        return true;
      },
    });
    expectWhole((await fetched()).path, files);
  });

  it("such as more than the file has, without a length, is not believed", async () => {
    await serve({
      files,
      fault: ({ place, response, data }) => {
        if (place !== "cdn") return false;
        response.writeHead(200);
        response.write(data);
        response.end(Buffer.alloc(1_000));
        return true;
      },
    });
    expectWhole((await fetched()).path, files);
  });

  it("such as a line that stands still, or drips, is given up and asked for again", async () => {
    await serve({
      files,
      fault: ({ place, count, response, data }) => {
        if (place !== "cdn" || count > 2) return false;
        response.writeHead(206, {
          "content-range": `bytes 0-199999/200000`,
          "content-length": 200_000,
        });
        if (count === 1) response.flushHeaders();
        else drip(response, data);
        return true;
      },
    });
    const waits: string[] = [];
    const onProgress = (event: PullProgress) => {
      if (event.type === "wait") waits.push(event.why);
    };
    expectWhole((await fetched({ onProgress }, { patienceMs: 1_000 })).path, files);
    // A busy machine may have to be asked a time more.
    expect(waits.length).toBeGreaterThanOrEqual(2);
  });

  function drip(response: import("node:http").ServerResponse, data: Buffer): void {
    let at = 0;
    const timer = setInterval(() => response.write(data.subarray(at, ++at)), 20);
    response.on("close", () => clearInterval(timer));
  }
});

describe("a refusal", () => {
  const files = madeUpFiles(30_000);
  const answer = async (
    fault: ModelHubOptions["fault"],
    options: Parameters<typeof fetched>[0] = {},
  ) => {
    await serve({ files, ...(fault && { fault }) });
    return fetched(options).then(
      () => {
        throw new Error("It was pulled.");
      },
      (error: { code: string; message: string }) => error,
    );
  };

  it.each([
    [
      401,
      "GatedRepo",
      "Access to model Test/Tiny is restricted.",
      "access-denied",
      /gated.*set HF_TOKEN/,
    ],
    [403, "GatedRepo", "Access to model Test/Tiny is restricted.", "access-denied", /gated/],
    [
      401,
      undefined,
      "Invalid username or password.",
      "model-not-found",
      /has no model Test\/Tiny, or it is private/,
    ],
    [404, "RepoNotFound", "Repository not found", "model-not-found", /has no model/],
    [404, "RevisionNotFound", "Invalid rev id", "revision-not-found", /no revision/],
    [403, undefined, "Access to this resource is disabled.", "access-denied", /disabled/],
    [418, undefined, "\u001b[31mteapot\nline", "hub-answer", /HTTP 418: \[31mteapot line/],
  ])("with %i %s says what to do", async (status, code, message, expected, words) => {
    const error = await answer(({ place, response }) => {
      if (place !== "list") return false;
      refuse(response, status, code, message.replace("\u001b", "").replace("\n", " "));
      return true;
    });
    expect(error).toMatchObject({ name: "PullError", code: expected });
    expect(error.message).toMatch(words);
  });

  it("of a file says the same, where the list is open to all and the files are not", async () => {
    const error = await answer(({ place, response }) => {
      if (place !== "resolve") return false;
      refuse(response, 403, "GatedRepo", "Access to model Test/Tiny is restricted.");
      return true;
    });
    expect(error).toMatchObject({ code: "access-denied", status: 403 });
    expect(error.message).toMatch(/gated.*http:\/\/127\S+\/Test\/Tiny and set HF_TOKEN/);
  });

  it("of the list of a tree makes do with the older list", async () => {
    await serve({
      files,
      fault: ({ file, url, response }) => {
        if (file === "tree") refuse(response, 404, undefined, "no such route");
        else if (url.search !== "?blobs=true") return false;
        else json(response, 200, { sha: hub.commit, siblings: siblingsOf(files) });
        return true;
      },
    });
    expectWhole((await fetched()).path, files);
  });

  const siblingsOf = (all: Readonly<Record<string, Buffer>>) =>
    Object.entries(all).map(([rfilename, data]) => ({
      rfilename,
      size: data.byteLength,
      blobId: gitSha1Of(data),
      ...(data.byteLength > 20_000 && { lfs: { sha256: sha256Of(data), size: data.byteLength } }),
    }));

  it("of a token says which variable holds it, and never the token", async () => {
    const error = await answer(
      ({ response }) => {
        refuse(response, 401, undefined, "Invalid credentials in Authorization header");
        return true;
      },
      { variables: { HF_TOKEN: "hf_secret" } },
    );
    expect(error).toMatchObject({ code: "access-denied" });
    expect(error.message).toContain("HF_TOKEN");
    expect(error.message).not.toContain("hf_secret");
  });

  it.each(["hf_secret", "c2VjcmV0IQ=="])(
    "that repeats the token %s is told without it",
    async (token) => {
      const error = await answer(
        ({ response }) => {
          json(response, 403, { error: `I do not like Bearer ${token}.` });
          return true;
        },
        { variables: { HF_TOKEN: token } },
      );
      expect(error.message).toContain("I do not like Bearer ***.");
      expect(error.message).not.toContain(token);
    },
  );

  it.each([
    [
      "an unknown revision",
      (response: never) => envelope(response, { Files: null }),
      "revision-not-found",
    ],
    ["an error inside HTTP 200", (response: never) => envelope(response, null, 500), "hub-answer"],
  ])("of ModelScope is understood: %s", async (_what, send, code) => {
    await serve({
      files,
      fault: ({ file, response }) => {
        if (file !== "files") return false;
        send(response as never);
        return true;
      },
    });
    await expect(fetched(viaModelScope())).rejects.toMatchObject({ code });
  });

  it.each([
    [429, { "retry-after": "0" }],
    [429, { ratelimit: '"resolvers";r=0;t=0', "x-pause": "1 s" }],
    [503, { "retry-after": "0" }],
    [500, {}],
  ])("with %i %j is waited for", async (status, headers) => {
    await serve({
      files,
      fault: ({ place, count, response }) => {
        if ((place !== "resolve" && place !== "list") || count > 1) return false;
        response.writeHead(status, headers).end("busy");
        return true;
      },
    });
    expectWhole((await fetched()).path, files);
  });

  it("with a date in Retry-After is waited for by the server's own clock", async () => {
    const waits: number[] = [];
    await serve({
      files,
      fault: ({ place, count, response }) => {
        if (place !== "resolve" || count > 1) return false;
        // A clock that is years behind.
        const date = "Thu, 01 Jan 2015 00:00:00 GMT";
        response.writeHead(503, { date, "retry-after": "Thu, 01 Jan 2015 00:00:01 GMT" }).end();
        return true;
      },
    });
    const onProgress = (event: PullProgress) => {
      if (event.type === "wait") waits.push(event.milliseconds);
    };
    expectWhole((await fetched({ onProgress })).path, files);
    expect(new Set(waits)).toEqual(new Set([1_000]));
  });

  it.each(["soon", "-5", "1e9", "99999999999999999999", ""])(
    "with Retry-After %j is waited for as without",
    async (wanted) => {
      await serve({
        files,
        fault: ({ place, count, response }) => {
          if (place !== "resolve" || count > 1) return false;
          response.writeHead(429, { "retry-after": wanted }).end();
          return true;
        },
      });
      expectWhole((await fetched()).path, files);
    },
  );

  it("that asks for longer than anybody waits is told at once", async () => {
    const error = await answer(({ response }) => {
      response.writeHead(429, { "retry-after": "99999" }).end();
      return true;
    });
    expect(error).toMatchObject({ code: "rate-limited", status: 429 });
    expect(error.message).toContain("99999 s");
  });

  it("of a link for good is told with the host and the storage's own word", async () => {
    const error = await answer(({ place, response }) => {
      if (place !== "cdn") return false;
      response.writeHead(403).end("<Error><Code>InvalidKey</Code><Key>s3cret</Key></Error>");
      return true;
    });
    expect(error).toMatchObject({ code: "hub-unreachable", status: 403 });
    expect(error.message).toMatch(
      /127\.0\.0\.1:\d+ refuses model\.safetensors \(HTTP 403, InvalidKey\)/,
    );
    expect(error.message).not.toContain("s3cret");
  });
});

describe("a hostile hub", () => {
  const files = madeUpFiles(30_000);
  const pulledFrom = async (fault: NonNullable<ModelHubOptions["fault"]>) => {
    await serve({ files, fault });
    return fetched();
  };

  it.each([
    "../evil.json",
    "/etc/evil",
    "a/../../evil",
    "C:\\evil",
    "..\\evil",
    "nul.json",
    "a\u0000b",
    "a\u001b[31m",
    "x/./y",
    "trailing.",
  ])("that names a file %j is refused", async (path) => {
    const pulling = pulledFrom(({ file, response }) => {
      if (file !== "tree") return false;
      const oid = "0".repeat(40);
      json(response, 200, [{ type: "file", path, size: 1, oid }]);
      return true;
    });
    await expect(pulling).rejects.toMatchObject({ code: "hub-answer" });
    await expect(pulling).rejects.toThrow(/leads out of its directory|twice/);
  });

  it.each([
    ["a negative size", { size: -1 }],
    ["a fraction", { size: 1.5 }],
    ["a size beyond all disks", { size: 2 ** 50 }],
    ["no size", {}],
    ["a hash of another kind", { size: 1, oid: "xyz" }],
  ])("that gives a file %s is refused", async (_what, facts) => {
    const pulling = pulledFrom(({ file, response }) => {
      if (file !== "tree") return false;
      json(response, 200, [{ type: "file", path: "config.json", oid: "0".repeat(40), ...facts }]);
      return true;
    });
    await expect(pulling).rejects.toMatchObject({ code: "hub-answer" });
  });

  it.each([
    ["without an end", "list"],
    ["of files without an end", "cdn"],
  ])("that redirects %s is left", async (_what, place) => {
    const pulling = pulledFrom((exchange) => {
      if (exchange.place !== place) return false;
      exchange.response.writeHead(302, { location: exchange.url.href }).end();
      return true;
    });
    await expect(pulling).rejects.toMatchObject({ code: "hub-answer" });
    await expect(pulling).rejects.toThrow("led nowhere");
  });

  it.each([
    ["file:///etc/passwd", "which is not https"],
    ["ftp://example.com/x", "which is not https"],
    ["http://169.254.169.254/latest", "nobody's"],
    ["http://10.0.0.1/x", "private"],
    ["http://[::ffff:192.168.1.1]/x", "private"],
    ["http://0/x", "nobody's"],
    ["http://[/", "to no address"],
  ])("that redirects to %s is left", async (location, words) => {
    const pulling = pulledFrom((exchange) => {
      if (exchange.place !== "resolve") return false;
      exchange.response.writeHead(302, { location }).end();
      return true;
    });
    await expect(pulling).rejects.toMatchObject({ code: "hub-answer" });
    await expect(pulling).rejects.toThrow(words);
  });

  it("that answers with a web page, an endless list or another JSON is named", async () => {
    const answers: readonly [string, (response: import("node:http").ServerResponse) => void][] = [
      ["web page", (response) => response.setHeader("content-type", "text/html").end("<html>")],
      ["more than 16 MiB", (response) => response.end(Buffer.alloc(17 * 2 ** 20, "["))],
      ["another form", (response) => json(response, 200, { sha: "x" })],
      ["another form", (response) => json(response, 200, [])],
      ["something else", (response) => response.end("{")],
    ];
    for (const [words, send] of answers) {
      const pulling = pulledFrom(({ response }) => {
        send(response);
        return true;
      });
      await expect(pulling).rejects.toThrow(words);
      await hub.close();
    }
  });

  it("that packs a list until it bursts is stopped", async () => {
    const { gzipSync } = await import("node:zlib");
    const bomb = gzipSync(Buffer.alloc(64 * 2 ** 20, " "));
    const pulling = pulledFrom(({ response }) => {
      response.writeHead(200, { "content-encoding": "gzip" }).end(bomb);
      return true;
    });
    await expect(pulling).rejects.toThrow("more than 16 MiB");
  });
});

describe("which hub", () => {
  const files = madeUpFiles(30_000);
  const both = (other: ModelHub) => ({
    variables: { HF_ENDPOINT: hub.url, MODELSCOPE_ENDPOINT: other.url },
  });

  it("is the one that answers first, and the same one the next time", async () => {
    await serve({ files });
    const other = await startModelHub({ files });
    const waiting: (() => void)[] = [];
    hub.fault = ({ response }) => {
      // Until the other has won.
      waiting.push(() => response.destroy());
      return true;
    };
    expect(await fetched(both(other))).toMatchObject({ hub: "modelscope" });
    for (const end of waiting) end();
    hub.fault = undefined;
    hub.asked.length = 0;
    expect(await fetched({ ...both(other), modelsDir: join(dir, "models") })).toMatchObject({
      hub: "modelscope",
      wasHere: true,
    });
    expect(hub.asked).toEqual([]);
    await other.close();
  });

  it("says what both said when neither has the model", async () => {
    await serve({ files, model: "Other/Model" });
    const other = await startModelHub({ files, model: "Other/Model" });
    const pulling = fetched({ ...both(other), model: "Test/Tiny" });
    await expect(pulling).rejects.toMatchObject({ code: "model-not-found" });
    await expect(pulling).rejects.toThrow(new URL(hub.url).host);
    await expect(pulling).rejects.toThrow(new URL(other.url).host);
    await other.close();
  });

  it("goes on with the partial file that another one began", async () => {
    await serve({
      files: { ...files, "model.safetensors": randomBytes(500_000) },
      fault: (exchange) => {
        if (exchange.place !== "cdn") return false;
        if (exchange.count === 1) sendPart(exchange, "206", 300_000);
        else exchange.response.writeHead(403).end();
        return true;
      },
    });
    await expect(fetched()).rejects.toMatchObject({ code: "hub-unreachable" });
    hub.fault = undefined;
    hub.asked.length = 0;
    const pulled = await fetched(viaModelScope());
    expect(pulled.hub).toBe("modelscope");
    expect(hub.asked.filter((line) => line.startsWith("cdn"))).toEqual([
      "cdn model.safetensors 300000-499999",
    ]);
  });

  it.each([
    ["HF_ENDPOINT", "ftp://example.com"],
    ["HF_ENDPOINT", "https://me:word@example.com"],
    ["MODELSCOPE_ENDPOINT", "modelscope"],
  ])("is refused as %s=%s, without the password", async (variable, value) => {
    await serve({ files });
    const variables = { HF_ENDPOINT: "", [variable]: value };
    const pulling = fetched({ variables });
    await expect(pulling).rejects.toThrow(`Expected \`${variable}\` to be an address`);
    await expect(pulling).rejects.not.toThrow("word");
  });
});

describe("weights in several files", () => {
  it("come by the index, and make the same package as one file", async () => {
    const whole = tinyChatFiles();
    await serve({ files: inShards(whole, 3) });
    const { path } = await fetched({ convert: true, precision: "w8a8" });
    const asked = hub.asked.filter((line) => line.startsWith("cdn"));
    expect(asked.filter((line) => line.endsWith(" 0-65535"))).toHaveLength(3); // their headers
    expect(asked).toHaveLength(7);
    const one = await startModelHub({ files: whole });
    const other = await fetched({
      convert: true,
      precision: "w8a8",
      modelsDir: join(dir, "one"),
      variables: { HF_ENDPOINT: one.url },
    });
    await one.close();
    for (const file of ["decoder.onnx.data", "vision_encoder.onnx.data", "embed_tokens.bin"]) {
      expect(
        readFileSync(join(path, file)).equals(readFileSync(join(other.path, file))),
        file,
      ).toBe(true);
    }
  });

  it("that the index names and the hub does not list, or that lie elsewhere, are refused", async () => {
    for (const file of ["model-00009-of-00009.safetensors", "../model.safetensors"]) {
      const index = Buffer.from(JSON.stringify({ weight_map: { "a.weight": file } }));
      const { "model.safetensors": _, ...others } = madeUpFiles(1);
      await serve({ files: { ...others, "model.safetensors.index.json": index } });
      await expect(fetched({ modelsDir: join(dir, file.length.toString()) })).rejects.toThrow(
        /which 127\S+ does not list|the name of a .safetensors file/,
      );
      await hub.close();
    }
  });
});

describe("a mirror below a path", () => {
  it("is followed where its redirects leave the path out", async () => {
    const files = madeUpFiles(50_000);
    await serve({ files });
    const answers = hub.url;
    const front = createServer((request, response) => {
      const url = request.url ?? "";
      if (!url.startsWith("/hf/")) {
        response.writeHead(404).end("nothing here");
        return;
      }
      // As it came from the hub, with the hub's own redirects.
      const { authorization } = request.headers;
      void fetch(`${answers}${url.slice(3)}`, {
        redirect: "manual",
        ...(authorization && { headers: { authorization } }),
      }).then(async (answer) => {
        const headers = Object.fromEntries(answer.headers);
        delete headers["transfer-encoding"];
        response.writeHead(answer.status, headers).end(Buffer.from(await answer.arrayBuffer()));
      });
    }).listen(0, "127.0.0.1");
    await once(front, "listening");
    const address = `http://127.0.0.1:${(front.address() as AddressInfo).port}/hf/`;
    const { path } = await fetched({ variables: { HF_ENDPOINT: address, HF_TOKEN: "hf_secret" } });
    expectWhole(path, files);
    expect(readdirSync(path)).toContain("config.json");
    front.closeAllConnections();
    front.close();
  });
});

describe("ModelScope", () => {
  it("whose list of commits is out of order is pinned by its hashes", async () => {
    const files = madeUpFiles(50_000);
    await serve({
      files,
      fault: ({ file, response }) => {
        if (file !== "commits") return false;
        response.writeHead(500).end();
        return true;
      },
    });
    const pulled = await fetched(viaModelScope());
    expectWhole(pulled.path, files);
    expect(pulled.revision).toMatch(/^[0-9a-f]{40}$/);
    expect(pulled.revision).not.toBe(hub.commit);
  });

  it("that lists a commit and serves only the branch is asked for the branch, and held to the hashes", async () => {
    const files = madeUpFiles(50_000);
    await serve({
      files,
      fault: ({ place, url, response }) => {
        if (place !== "resolve" || url.searchParams.get("Revision") === "master") return false;
        json(response, 404, { Code: 10990101007, Message: "文件内容为空", Success: false });
        return true;
      },
    });
    expectWhole((await fetched(viaModelScope())).path, files);
  });
});

describe("what other programs have fetched", () => {
  const files = madeUpFiles(60_000);
  const linked = (path: string) => statSync(join(path, "model.safetensors")).nlink;

  it("into ModelScope's cache is taken by its hash, whatever its revision is called", async () => {
    await serve({ files });
    const cache = join(dir, "ms", "models", "Test--Tiny", "snapshots", "master");
    mkdirSync(cache, { recursive: true });
    for (const [name, data] of Object.entries(files)) writeFileSync(join(cache, name), data);
    const { path } = await fetched(viaModelScope());
    expectWhole(path, files);
    expect(linked(path)).toBe(2);
    expect(hub.asked.every((line) => line.startsWith("list"))).toBe(true);
  });

  it("and is damaged, or only half there, is fetched", async () => {
    await serve({ files });
    const cache = join(dir, "ms", "hub", "Test", "Tiny");
    mkdirSync(cache, { recursive: true });
    writeFileSync(join(cache, "model.safetensors"), randomBytes(60_000));
    writeFileSync(join(cache, "tokenizer.json"), "{");
    const { path } = await fetched();
    expectWhole(path, files);
    expect(linked(path)).toBe(1);
  });
});

describe("a model that cannot be converted", () => {
  it("is refused by its settings, before its weights are fetched", async () => {
    const files = { ...tinyChatFiles() };
    const config = JSON.parse(files["config.json"]?.toString() ?? "{}");
    files["config.json"] = Buffer.from(JSON.stringify({ ...config, model_type: "qwen3_vl_moe" }));
    await serve({ files });
    await expect(fetched({ convert: true })).rejects.toMatchObject({ code: "model-unsupported" });
    expect(hub.asked.filter((line) => line.startsWith("cdn model"))).toEqual([]);
  });

  it.each([
    ["model.gguf", "GGUF"],
    ["pytorch_model.bin", "pickled"],
    ["model.onnx", "ONNX graphs that another program made"],
    ["README.md", "no model.safetensors"],
  ])("such as one with only %s is named", async (name, words) => {
    await serve({ files: { [name]: Buffer.from("x") } });
    await expect(fetched()).rejects.toMatchObject({ code: "model-not-found" });
    await expect(fetched()).rejects.toThrow(words);
  });

  it("is refused when the disk has no room for it, before anything large is begun", async () => {
    await serve({
      files: madeUpFiles(30_000),
      fault: ({ file, response }) => {
        if (file !== "tree") return false;
        const small = ["config.json", "tokenizer.json", "tokenizer_config.json"];
        const listed = [
          ...small.map((path) => ({
            type: "file",
            path,
            size: 0,
            oid: "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
          })),
          {
            type: "file",
            path: "model.safetensors",
            size: 2 ** 42,
            lfs: { oid: "0".repeat(64), size: 2 ** 42 },
          },
        ];
        json(response, 200, listed);
        return true;
      },
    });
    await expect(fetched()).rejects.toMatchObject({ code: "disk-full" });
    expect(hub.asked.filter((line) => !line.startsWith("list"))).toEqual([]);
  });
});
