// The parts of a pull by themselves: ranges, journals, reach, proxies, rates, locks.

import { createHash, randomBytes } from "node:crypto";
import type { lookup } from "node:dns";
import { appendFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { Readable } from "node:stream";
import fc from "fast-check";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { disk } from "../../../src/disk.ts";
import { ByteRanges, cutIntoPieces } from "../../../src/vlm/hub/byte-ranges.ts";
import { HttpClient } from "../../../src/vlm/hub/http-client.ts";
import { isSafePath } from "../../../src/vlm/hub/listed-files.ts";
import { folderOf, modelName, nameOf } from "../../../src/vlm/hub/model-name.ts";
import { PartialFile } from "../../../src/vlm/hub/partial-file.ts";
import { proxyFor } from "../../../src/vlm/hub/proxy.ts";
import { takeLock } from "../../../src/vlm/hub/pull-lock.ts";
import { PullMeter, type PullProgress } from "../../../src/vlm/hub/pull-progress.ts";
import { literalAddress, mayLead, reachOf } from "../../../src/vlm/hub/reach.ts";
import { shownText } from "../../../src/vlm/hub/shown-text.ts";
import { steadily } from "../../../src/vlm/hub/steady-body.ts";
import { bundleChild } from "../../support/child-process.ts";
import { effort } from "../../support/fuzz.ts";
import { sha256Of } from "../../support/model-hub.ts";
import { tempDir } from "../../support/temp-dir.ts";

let dir: string;
beforeEach(async () => {
  dir = await tempDir();
});

describe("ranges of bytes", () => {
  it("cover what was added, in any order, and nothing else", () => {
    const range = fc.tuple(fc.nat(60), fc.nat(60)).map(([a, b]) => ({
      start: Math.min(a, b),
      end: Math.max(a, b),
    }));
    fc.assert(
      fc.property(fc.array(range, { maxLength: 20 }), range, (added, whole) => {
        const ranges = new ByteRanges();
        const covered = new Set<number>();
        for (const { start, end } of added) {
          ranges.add({ start, end });
          for (let i = start; i < end; i++) covered.add(i);
        }
        expect(ranges.bytes).toBe(covered.size);
        const missing = ranges
          .missing(whole)
          .flatMap(({ start, end }) => Array.from({ length: end - start }, (_, i) => start + i));
        const expected = Array.from(
          { length: whole.end - whole.start },
          (_, i) => whole.start + i,
        ).filter((i) => !covered.has(i));
        expect(missing).toEqual(expected);
        const pieces = cutIntoPieces(ranges.missing(whole), 7);
        expect(pieces.flatMap(({ start, end }) => end - start).every((n) => n > 0 && n <= 7)).toBe(
          true,
        );
        expect(pieces.reduce((sum, { start, end }) => sum + end - start, 0)).toBe(missing.length);
      }),
      effort(),
    );
  });
});

describe("a partial file", () => {
  const data = randomBytes(10_000);
  const file = { path: "model.safetensors", size: data.byteLength, sha256: sha256Of(data) };
  const path = () => join(dir, "model.safetensors");

  it("goes on after a process that ended in the middle of a line", async () => {
    const first = await PartialFile.open(path(), file);
    expect(await first.write(0, data.subarray(0, 4_000))).toBe(4_000);
    expect(await first.write(6_000, data.subarray(6_000, 7_000))).toBe(1_000);
    await first.close();
    appendFileSync(`${path()}.part.ranges`, "9000 100");
    const second = await PartialFile.open(path(), file);
    expect(second.missing()).toEqual([
      { start: 4_000, end: 6_000 },
      { start: 7_000, end: 10_000 },
    ]);
    await second.write(4_000, data.subarray(4_000));
    expect(await second.finish({})).toBe(true);
    expect(readFileSync(path()).equals(data)).toBe(true);
    expect(existsSync(`${path()}.part.ranges`)).toBe(false);
  });

  it("is not gone on with when the hub has another file by now", async () => {
    const first = await PartialFile.open(path(), file);
    await first.write(0, data.subarray(0, 4_000));
    await first.close();
    for (const other of [
      { ...file, sha256: "0".repeat(64) },
      { ...file, size: 20_000 },
    ]) {
      expect(await PartialFile.bytesLeft(path(), other)).toBe(0);
    }
    expect(await PartialFile.bytesLeft(path(), file)).toBe(4_000);
  });

  it("believes a journal no further than the file goes", async () => {
    const first = await PartialFile.open(path(), file);
    await first.write(0, data.subarray(0, 4_000));
    await first.close();
    writeFileSync(`${path()}.part`, data.subarray(0, 1_000));
    expect(await PartialFile.bytesLeft(path(), file)).toBe(1_000);
  });

  it("with wrong bytes never gets its name", async () => {
    const partial = await PartialFile.open(path(), file);
    await partial.write(0, randomBytes(10_000));
    expect(await partial.finish({})).toBe(false);
    expect(existsSync(path())).toBe(false);
    expect(existsSync(`${path()}.part`)).toBe(false);
    await partial.reopen();
    await partial.write(0, data);
    expect(await partial.finish({})).toBe(true);
  });
});

describe("reach", () => {
  it.each([
    ["127.0.0.1", "loopback"],
    ["::1", "loopback"],
    ["::ffff:10.1.2.3", "private"],
    ["192.168.1.1", "private"],
    ["100.64.0.1", "private"],
    ["fd00::1", "private"],
    ["169.254.169.254", "nowhere"],
    ["fe80::1", "nowhere"],
    ["0.0.0.0", "nowhere"],
    ["198.18.0.7", "public"],
    ["1.1.1.1", "public"],
    ["2606:4700::1", "public"],
  ] as const)("%s is %s", (address, reach) => {
    expect(reachOf(address)).toBe(reach);
  });

  it("sees through other spellings of an address", () => {
    for (const url of ["http://2130706433/", "http://0x7f.1/", "http://[::ffff:7f00:1]/"]) {
      expect(reachOf(literalAddress(new URL(url)) ?? ""), url).toBe("loopback");
    }
    expect(literalAddress(new URL("http://example.com/"))).toBeUndefined();
  });

  it("lets a hub lead to the internet and to where it is itself", () => {
    expect(mayLead("public", "public")).toBe(true);
    expect(mayLead("loopback", "public")).toBe(true);
    expect(mayLead("loopback", "loopback")).toBe(true);
    expect(mayLead("public", "loopback")).toBe(false);
    expect(mayLead("public", "private")).toBe(false);
    expect(mayLead("loopback", "private")).toBe(false);
    expect(mayLead("nowhere", "nowhere")).toBe(false);
  });

  it("looks at names where the connection is made", async () => {
    // A name on the internet that somebody pointed at this machine.
    const find = ((
      _name: string,
      options: { all?: boolean },
      done: (...found: unknown[]) => void,
    ) =>
      options.all === true
        ? done(null, [{ address: "127.0.0.1", family: 4 }])
        : done(null, "127.0.0.1", 4)) as typeof lookup;
    const client = new HttpClient({ env: {}, lookup: find });
    const url = new URL("http://cdn.example.com:1/");
    await expect(client.get(url, { ledFrom: "public" })).rejects.toThrow("that is loopback");
    await expect(client.get(url)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    await client.close();
  });
});

describe("a proxy", () => {
  it.each([
    [{ https_proxy: "http://p:1" }, "http://p:1"],
    [{ HTTPS_PROXY: "http://p:1", NO_PROXY: "example.com" }, "http://p:1"],
    [{ ALL_PROXY: "http://p:1" }, "http://p:1"],
    [{ HTTPS_PROXY: "http://p:1", NO_PROXY: "huggingface.co" }, undefined],
    [{ HTTPS_PROXY: "http://p:1", NO_PROXY: ".co" }, undefined],
    [{ HTTPS_PROXY: "http://p:1", NO_PROXY: "*" }, undefined],
    [{ HTTPS_PROXY: "http://p:1", no_proxy: "x, HuggingFace.co:443" }, "http://p:1"],
    [{ HTTPS_PROXY: "p:1" }, "http://p:1"],
    [{ HTTPS_PROXY: "me:word@p:1" }, "http://me:word@p:1"],
    [{ HTTPS_PROXY: "" }, undefined],
    [{ HTTPS_PROXY: "socks5://p:1" }, "socks5://p:1"],
    [{ ALL_PROXY: "socks5h://me:word@p" }, "socks5h://me:word@p"],
    [{ ALL_PROXY: "SOCKS4A://p:1" }, "SOCKS4A://p:1"],
    [{ ALL_PROXY: "ftp://p:1" }, undefined],
    [{ HTTP_PROXY: "http://p:1" }, undefined],
  ])("for https://huggingface.co with %j is %s", (env, proxy) => {
    expect(proxyFor(new URL("https://huggingface.co/x"), env)).toBe(proxy);
  });

  it("is gone through, with its password", async () => {
    const seen: (string | undefined)[] = [];
    const server = createServer((_request, response) => response.end("here"));
    const proxy = createServer().on("connect", (request, socket) => {
      seen.push(request.url, request.headers["proxy-authorization"]);
      const line = connect(Number(request.url?.split(":")[1]), "127.0.0.1", () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        line.pipe(socket).pipe(line);
      });
    });
    for (const each of [server, proxy]) {
      each.listen(0, "127.0.0.1");
      await new Promise((resolve) => each.once("listening", resolve));
    }
    const port = (each: typeof server) => (each.address() as AddressInfo).port;
    const client = new HttpClient({
      env: { HTTP_PROXY: `http://me:word@127.0.0.1:${port(proxy)}` },
    });
    const answer = await client.get(new URL(`http://hub.test:${port(server)}/`));
    const chunks: Buffer[] = [];
    for await (const chunk of steadily(answer.body, 5_000)) chunks.push(chunk);
    expect(Buffer.concat(chunks).toString()).toBe("here");
    expect(seen).toEqual([
      `hub.test:${port(server)}`,
      `Basic ${Buffer.from("me:word").toString("base64")}`,
    ]);
    await client.close();
    for (const each of [server, proxy]) {
      each.closeAllConnections();
      each.close();
    }
  });
});

describe("the meter", () => {
  const file = { path: "a", size: 1_000_000 };

  it("tells the rate of the last seconds and the time that is left", () => {
    let now = 0;
    const seen: PullProgress[] = [];
    const meter = new PullMeter(
      1_000_000,
      (progress) => seen.push(progress),
      () => now,
    );
    meter.found(file, 400_000);
    for (let second = 1; second <= 5; second++) {
      now = second * 1_000;
      meter.came(file, 100_000);
    }
    expect(seen.at(-1)).toMatchObject({
      doneBytes: 900_000,
      bytesPerSecond: 100_000,
      secondsLeft: 1,
    });
    // What was here before was not fast.
    expect(seen.every((each) => each.type !== "download" || each.bytesPerSecond <= 100_000)).toBe(
      true,
    );
  });

  it("does not see a clock that jumps", () => {
    const real = Date.now;
    const seen: PullProgress[] = [];
    try {
      const meter = new PullMeter(1_000_000, (progress) => seen.push(progress));
      for (const jump of [0, 1e12, -1e12, 86_400_000]) {
        Date.now = () => real() + jump;
        meter.came(file, 250_000);
      }
    } finally {
      Date.now = real;
    }
    const downloads = seen.filter((each) => each.type === "download");
    expect(downloads.at(-1)).toMatchObject({ doneBytes: 1_000_000, secondsLeft: 0 });
    for (const { bytesPerSecond, secondsLeft } of downloads) {
      expect(bytesPerSecond).toBeGreaterThanOrEqual(0);
      expect(Number.isFinite(bytesPerSecond)).toBe(true);
      expect(secondsLeft ?? 0).toBeGreaterThanOrEqual(0);
    }
  });
});

describe("a lock", () => {
  const signal = new AbortController().signal;

  it("is had by one at a time, and left behind by nobody", async () => {
    const lock = await takeLock(dir, "a/b", signal);
    await expect(takeLock(dir, "a/b", signal)).rejects.toMatchObject({ code: "pull-running" });
    await lock.release();
    await (await takeLock(dir, "a/b", signal)).release();
    expect(existsSync(join(dir, "pull.lock"))).toBe(false);
  });

  it("of a process that was killed holds nobody up", async () => {
    const { hostname } = await import("node:os");
    writeFileSync(join(dir, "pull.lock"), `999999999 abcd 7 ${hostname()}\n`);
    await (await takeLock(dir, "a/b", signal)).release();
  });

  it.each([
    ["goes to one of many that want it", false],
    ["goes to one of them, too, when the first who took it over was killed over that", true],
  ])("of a process that was killed %s", async (_to, hasDeadHeir) => {
    const { hostname } = await import("node:os");
    const want = await bundleChild(new URL("../../support/want-lock.ts", import.meta.url));
    try {
      const dead = `999999999 abcd 7 ${hostname()}\n`;
      writeFileSync(join(dir, "pull.lock"), dead);
      const heir = createHash("sha256").update(dead).digest("hex").slice(0, 16);
      if (hasDeadHeir) {
        writeFileSync(join(dir, `pull.lock.${heir}`), `999999998 ef01 0 ${hostname()}\n`);
      }
      const all = Array.from({ length: 4 }, () => want.run(dir));
      const said = () => readdirSync(dir).filter((name) => name.startsWith("said-"));
      await vi.waitUntil(() => said().length === all.length, { timeout: 200_000, interval: 50 });
      writeFileSync(join(dir, "go"), "");
      const answers = (await Promise.all(all)).map(({ stdout }) => stdout);
      expect(answers.toSorted()).toEqual(["had", "no", "no", "no"]);
      expect(readdirSync(dir).filter((name) => name.includes("lock"))).toEqual([]);
    } finally {
      await want.remove();
    }
  });

  it("that nobody may read is an error, and not waited for", async () => {
    const text = "1 abcd 0 elsewhere\n";
    writeFileSync(join(dir, "pull.lock"), text);
    const refused = Object.assign(new Error("EIO: i/o error, read"), { code: "EIO" });
    const reading = vi.spyOn(disk, "readText").mockRejectedValue(refused);
    await expect(takeLock(dir, "a/b", signal)).rejects.toThrow("EIO");
    reading.mockRestore();
    expect(readFileSync(join(dir, "pull.lock"), "utf8")).toBe(text);
  });

  it("that somebody else has taken over meanwhile is left alone", async () => {
    const lock = await takeLock(dir, "a/b", signal);
    const others = "1 ef01 0 elsewhere\n";
    writeFileSync(join(dir, "pull.lock"), others);
    await lock.release();
    expect(readFileSync(join(dir, "pull.lock"), "utf8")).toBe(others);
  });

  it("of another machine is respected while its counter moves", async () => {
    let beats = 0;
    const write = () => writeFileSync(join(dir, "pull.lock"), `1 abcd ${beats++} elsewhere\n`);
    write();
    const timer = setInterval(write, 100);
    await expect(takeLock(dir, "a/b", signal)).rejects.toMatchObject({ code: "pull-running" });
    clearInterval(timer);
  });
});

describe("names", () => {
  it("stand for models, and for nothing outside the directory", () => {
    expect(modelName("qwen3-vl-2b")).toBe("Qwen/Qwen3-VL-2B-Instruct");
    expect(modelName("qwen3-vl-8b-thinking")).toBe("Qwen/Qwen3-VL-8B-Thinking");
    expect(modelName("me/my-tune_1.5")).toBe("me/my-tune_1.5");
    const wrong = [
      "",
      "x",
      "/x",
      "a/",
      "../b",
      "a/..",
      "a/b/c",
      "a\\b",
      "C:/x",
      "a/b ",
      "a--b/c",
      "-a/b",
      "a/b.",
    ];
    for (const text of wrong) expect(modelName(text), text).toBeUndefined();
    expect(nameOf(folderOf("me/my-tune"))).toBe("me/my-tune");
    expect(nameOf("other")).toBeUndefined();
  });

  it("of files lead downwards only, on every system", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom("a", ".", "/", "\\", ":", "\0", " ") }),
        (path) => {
          if (!isSafePath(path)) return;
          const full = join("/root", path);
          expect(full.startsWith("/root/")).toBe(true);
          expect(path).not.toMatch(/[\\:\0]|(?:^|\/)\.\.?(?:\/|$)/);
        },
      ),
      effort(),
    );
  });

  it("and messages of a hub cannot move a cursor", () => {
    expect(shownText("a\u001b[2Jb\r\nc\u202ed\u2028e\u0000")).toBe("a [2Jb c d e");
    expect(shownText("x".repeat(1_000)).length).toBeLessThan(250);
  });
});

describe("a body", () => {
  it("that broke before anybody read it is an error, and none to wait for", async () => {
    const body = new Readable({ read() {} });
    body.on("error", () => {});
    body.destroy(new Error("broke"));
    await new Promise((resolve) => body.once("close", resolve));
    const reading = async () => {
      for await (const _chunk of steadily(body, 60_000));
    };
    await expect(reading()).rejects.toThrow("broke");
  });

  it("gives out what came before it broke", async () => {
    const body = new Readable({ read() {} });
    const got: string[] = [];
    body.push("one");
    const reading = (async () => {
      for await (const chunk of steadily(body, 60_000)) {
        got.push(chunk.toString());
        if (got.length === 1) {
          body.push("two");
          await new Promise((resolve) => setImmediate(resolve));
          body.destroy(new Error("broke"));
        }
      }
    })();
    await expect(reading).rejects.toThrow("broke");
    expect(got).toEqual(["one", "two"]);
  });
});

describe("importing the package", () => {
  it("loads nothing of a pull, and no HTTP client", () => {
    const root = join(import.meta.dirname, "../../../src");
    const seen = new Set<string>();
    const visit = (path: string) => {
      if (seen.has(path)) return;
      seen.add(path);
      if (!path.endsWith(".ts")) return;
      const code = readFileSync(path, "utf8");
      const found = code.matchAll(/^(?:import|export)\s+(?!type\s)[^;]*?from\s+"([^"]+)";/gm);
      for (const [statement, target = ""] of found) {
        // Only types between the braces are nothing at run time.
        const names = /\{([^}]*)\}/
          .exec(statement)?.[1]
          ?.split(",")
          .map((name) => name.trim()) ?? ["x"];
        if (names.filter(Boolean).every((name) => name.startsWith("type "))) continue;
        visit(target.startsWith(".") ? join(path, "..", target) : target);
      }
    };
    visit(join(root, "vlm/index.ts"));
    expect(seen).toContain(join(root, "vlm/hub/pull-model.ts"));
    const loaded = [...seen].filter((path) => path.includes(join("vlm", "hub")));
    expect(loaded).toEqual([join(root, "vlm/hub/pull-model.ts")]);
    expect(seen).not.toContain("undici");
  });
});
