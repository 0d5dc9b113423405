import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { nativePath } from "../src/disk.ts";
import { DiskError } from "../src/disk-error.ts";
import { type Mood, scriptedDisk } from "./support/scripted-disk.ts";
import { tempDir } from "./support/temp-dir.ts";

const HELD = ["EPERM", "EACCES", "EBUSY", "ENOTEMPTY", "EEXIST"];

/** Fails one call with a code, for ever or until a moment. */
function failing(call: string, code: string, until = Number.POSITIVE_INFINITY): Mood {
  return (name, _args, now) => (name === call && now < until ? code : undefined);
}

/** A directory with three files, and where it is to go. */
async function tree() {
  const parent = await tempDir();
  const [from, to] = [join(parent, "from"), join(parent, "to")];
  await mkdir(from);
  for (const name of ["key", "a", "z"]) await writeFile(join(from, name), name);
  return { parent, from, to };
}

describe("on Windows, a program that holds a path", () => {
  it.each(HELD)("is waited for with growing pauses: %s", async (code) => {
    const { from, to } = await tree();
    const { disk, pauses } = scriptedDisk(failing("rename", code, 3_000), { platform: "win32" });
    await disk.insist(to, () => disk.moveDirectory(from, to, "key"));
    expect((await readdir(to)).toSorted()).toEqual(["a", "key", "z"]);
    const waited = pauses.reduce((sum, pause) => sum + pause, 0);
    expect(waited).toBeGreaterThanOrEqual(3_000);
    expect(waited).toBeLessThan(6_000);
    expect(pauses).toEqual(pauses.toSorted((a, b) => a - b));
  });

  it.each(["EPERM", "EACCES", "EBUSY"])("is named when it never lets go: %s", async (code) => {
    const { from, to } = await tree();
    const { disk, pauses, calls } = scriptedDisk(failing("rename", code), { platform: "win32" });
    const moving = disk.insist(to, () => disk.moveDirectory(from, to, "key"));
    await expect(moving).rejects.toThrow(
      /^Another program holds .*to \(E[A-Z]+\): a virus scanner/,
    );
    await expect(moving).rejects.toMatchObject({ trouble: "held", code, path: to });
    const waited = pauses.reduce((sum, pause) => sum + pause, 0);
    expect(waited).toBeGreaterThanOrEqual(30_000);
    expect(waited).toBeLessThanOrEqual(60_000);
    expect(calls).not.toContain("copyFile");
    expect((await readdir(from)).toSorted()).toEqual(["a", "key", "z"]);
  });

  it.each(["open", "readFile", "stat"] as const)("is waited for in reading: %s", async (call) => {
    const { from } = await tree();
    const { disk, pauses } = scriptedDisk(failing(call, "EBUSY", 1_000), { platform: "win32" });
    const path = join(from, "key");
    if (call === "open") await (await disk.open(path, "r")).close();
    if (call === "readFile") expect(await disk.readText(path)).toBe("key");
    if (call === "stat") expect(await disk.fileSize(path)).toBe(3);
    expect(pauses.length).toBeGreaterThan(2);
  });

  it("is not taken for a missing file", async () => {
    const { from } = await tree();
    const { disk } = scriptedDisk(failing("stat", "EBUSY"), { platform: "win32" });
    await expect(disk.fileSize(join(from, "key"))).rejects.toMatchObject({ trouble: "held" });
  });

  it("does not keep an abort waiting", async () => {
    const { from, to } = await tree();
    const controller = new AbortController();
    const mood: Mood = (call) => {
      if (call !== "rename") return undefined;
      controller.abort(new Error("stop"));
      return "EBUSY";
    };
    const { disk } = scriptedDisk(mood, { platform: "win32" });
    const moving = disk.insist(to, () => disk.moveDirectory(from, to, "key"), {
      signal: controller.signal,
    });
    await expect(moving).rejects.toThrow("stop");
  });

  it("may keep what is removed, which is no error", async () => {
    const { from } = await tree();
    const held = scriptedDisk(failing("rm", "EBUSY"), { platform: "win32" });
    expect(await held.disk.remove(from)).toBe(false);
    const patient = scriptedDisk(failing("rm", "ENOTEMPTY", 1_000), { platform: "win32" });
    expect(await patient.disk.remove(from)).toBe(true);
  });

  it("is told from a place that may not be written within a second", async () => {
    const { parent } = await tree();
    const { disk, pauses } = scriptedDisk(failing("mkdir", "EPERM"), { platform: "win32" });
    await expect(disk.makeDirectory(join(parent, "x"))).rejects.toMatchObject({
      trouble: "refused",
    });
    expect(pauses.reduce((sum, pause) => sum + pause, 0)).toBeLessThan(3_000);
  });
});

describe("a disk without renames", () => {
  /** Of a directory only, as shares and mount points have it. */
  const noDirectories =
    (code: string, from: string): Mood =>
    (call, [path]) =>
      call === "rename" && path === from ? code : undefined;

  it.each([
    "EXDEV",
    "ENOTSUP",
    "EOPNOTSUPP",
    "ENOSYS",
    "EINVAL",
    "EIO",
    "EPERM",
    "EACCES",
    "EBUSY",
  ])("gets the files one by one: %s", async (code) => {
    const { from, to } = await tree();
    const { disk, pauses } = scriptedDisk(noDirectories(code, from));
    await disk.moveDirectory(from, to, "key");
    expect((await readdir(to)).toSorted()).toEqual(["a", "key", "z"]);
    expect(pauses).toEqual([]);
  });

  it("gets copies where not even files can be renamed, the key file last", async () => {
    const { from, to } = await tree();
    const copied: unknown[] = [];
    const { disk } = scriptedDisk((call, [path]) => {
      if (call === "copyFile") copied.push(path);
      return call === "rename" ? "EXDEV" : undefined;
    });
    await disk.moveDirectory(from, to, "key");
    expect(copied).toEqual(["a", "z", "key"].map((name) => join(from, name)));
    expect(await readFile(join(to, "key"), "utf8")).toBe("key");
  });

  it("takes an empty directory that cannot be removed, such as a mount point", async () => {
    const { from, to } = await tree();
    await mkdir(to);
    const { disk } = scriptedDisk(failing("rmdir", "EBUSY"));
    await disk.moveDirectory(from, to, "key");
    expect((await readdir(to)).toSorted()).toEqual(["a", "key", "z"]);
  });

  it.each(["ENOSPC", "EIO"])("keeps all where it was when a copy fails: %s", async (code) => {
    const { from, to } = await tree();
    const { disk } = scriptedDisk((call, [path]) => {
      if (call === "rename" && path === from) return "EXDEV";
      if (call === "rename" && String(path).endsWith("z")) return "EXDEV";
      return call === "copyFile" ? code : undefined;
    });
    await expect(disk.moveDirectory(from, to, "key")).rejects.toMatchObject({ code });
    expect((await readdir(from)).toSorted()).toEqual(["a", "key", "z"]);
    expect(await readdir(to)).toEqual([]);
  });

  it("has what is replaced emptied, the key file first", async () => {
    const { from, to } = await tree();
    const removed: unknown[] = [];
    const { disk } = scriptedDisk((call, [path]) => {
      if (call === "rm") removed.push(path);
      return call === "rename" ? "EBUSY" : undefined;
    });
    await disk.moveAside(from, to, "key");
    expect(removed[0]).toBe(join(from, "key"));
    expect(await readdir(from)).toEqual([]);
  });
});

describe("others at the same path", () => {
  it("take turns, and a failure that stays comes as it is", async () => {
    const { parent } = await tree();
    const { disk, pauses } = scriptedDisk(() => undefined);
    let tries = 0;
    await disk.insist(parent, async () => {
      if (++tries < 10) throw Object.assign(new Error("ENOTEMPTY"), { code: "ENOTEMPTY" });
    });
    expect(tries).toBe(10);
    const gone = Object.assign(new Error("ENOENT: gone"), { code: "ENOENT" });
    await expect(disk.insist(parent, () => Promise.reject(gone))).rejects.toBe(gone);
    const wrong = new TypeError("no package");
    await expect(disk.insist(parent, () => Promise.reject(wrong))).rejects.toBe(wrong);
    expect(pauses).toEqual([]);
  });
});

describe("a full disk", () => {
  it("is noticed before anything is written", async () => {
    const { parent } = await tree();
    const free = { bavail: 10, bsize: 1_000_000, blocks: 100 };
    const { disk } = scriptedDisk(() => undefined, { free });
    await disk.assertRoom(join(parent, "not", "there", "yet"), 10_000_000);
    await expect(disk.assertRoom(parent, 2_500_000_000)).rejects.toMatchObject({
      trouble: "full",
      neededBytes: 2_500_000_000,
      freeBytes: 10_000_000,
      message: expect.stringMatching(
        /is full \(ENOSPC\): 2\.50 GB are needed and 10\.0 MB are free\./,
      ),
    });
  });

  it("is believed when it says nothing", async () => {
    const { parent } = await tree();
    const silent = scriptedDisk(() => undefined, { free: { bavail: 0, bsize: 0, blocks: 0 } });
    await silent.disk.assertRoom(parent, 1e15);
    const old = scriptedDisk(failing("statfs", "ENOSYS"));
    await old.disk.assertRoom(parent, 1e15);
  });

  it.each(["ENOSPC", "EDQUOT", "EFBIG"])("is put into words in the middle: %s", async (code) => {
    const { parent } = await tree();
    const { disk } = scriptedDisk(failing("writeFile", code));
    const writing = disk.replaceFile(join(parent, "settings.json"), "{}");
    await expect(writing).rejects.toBeInstanceOf(DiskError);
    await expect(writing).rejects.toMatchObject({ trouble: "full", code });
  });
});

describe("a place that may not be written", () => {
  it.each(["EROFS", "EACCES", "EPERM", "ENAMETOOLONG"])("says so: %s", async (code) => {
    const { parent } = await tree();
    const { disk } = scriptedDisk(failing("mkdir", code));
    const making = disk.makeDirectory(join(parent, "x"));
    await expect(making).rejects.toMatchObject({ trouble: "refused", code });
    await expect(making).rejects.toThrow(/[Cc]hoose/);
  });

  it("says so where nothing can be made, though the system means that nothing is there", async () => {
    const { parent } = await tree();
    const path = join(parent, "a", "b", "c");
    const { disk, calls } = scriptedDisk((call, [at]) =>
      call === "mkdir" && String(at) !== join(parent, "a") ? "ENOENT" : undefined,
    );
    await expect(disk.makeDirectory(path)).rejects.toMatchObject({ trouble: "refused" });
    expect(calls.filter((call) => call === "mkdir").length).toBeLessThan(10);
  });

  it("is no place that is there already, or is made by somebody else at the same moment", async () => {
    const { parent } = await tree();
    const { disk } = scriptedDisk(() => undefined);
    const path = join(parent, "a", "b", "c");
    await Promise.all([disk.makeDirectory(path), disk.makeDirectory(path)]);
    await disk.makeDirectory(path);
    expect(await readdir(join(parent, "a", "b"))).toEqual(["c"]);
    const full = scriptedDisk((call) => (call === "mkdir" ? "EROFS" : undefined));
    await full.disk.makeDirectory(path);
    await writeFile(join(path, "file"), "");
    await expect(disk.makeDirectory(join(path, "file"))).rejects.toMatchObject({ code: "EEXIST" });
  });

  it("is found by writing where making a directory works", async () => {
    const { parent } = await tree();
    const { disk } = scriptedDisk(failing("writeFile", "EACCES"));
    await expect(disk.assertWritable(parent)).rejects.toMatchObject({ trouble: "refused" });
    const fine = scriptedDisk(() => undefined);
    await fine.disk.assertWritable(parent);
    expect(await readdir(parent)).toEqual(["from"]);
  });
});

describe("files", () => {
  it("are replaced whole, and read with any name", async () => {
    const { parent } = await tree();
    const { disk } = scriptedDisk(() => undefined);
    const path = join(parent, "设置 🦊.json");
    await disk.replaceFile(path, "one");
    await disk.replaceFile(path, "two");
    expect(await disk.readText(path)).toBe("two");
    expect((await readdir(parent)).toSorted()).toEqual(["from", "设置 🦊.json"]);
    await expect(disk.readText(join(parent, "gone"))).rejects.toMatchObject({ code: "ENOENT" });
    expect(await disk.fileSize(join(parent, "gone"))).toBeUndefined();
  });

  it("are moved to another disk as well", async () => {
    const { parent, from } = await tree();
    const { disk } = scriptedDisk(failing("rename", "EXDEV"));
    await disk.moveFile(join(from, "a"), join(parent, "moved"));
    expect(await readFile(join(parent, "moved"), "utf8")).toBe("a");
    expect((await readdir(from)).toSorted()).toEqual(["key", "z"]);
  });

  it("are durable as far as the disk can do that", async () => {
    const { disk } = scriptedDisk(() => undefined);
    const handle = (code: string) =>
      ({ sync: () => Promise.reject(Object.assign(new Error(code), { code })) }) as never;
    await disk.sync(handle("EINVAL"));
    await disk.sync(handle("ENOTSUP"));
    await expect(disk.sync(handle("EIO"))).rejects.toThrow("EIO");
  });
});

describe("nativePath", () => {
  it("gives long paths of Windows in the long form, and leaves all others", () => {
    const long = `C:\\模型\\${"x".repeat(260)}\\decoder.onnx`;
    expect(nativePath(long, "win32")).toBe(`\\\\?\\${long}`);
    expect(nativePath(`\\\\server\\share\\${"x".repeat(260)}`, "win32")).toMatch(
      /^\\\\\?\\UNC\\server/,
    );
    expect(nativePath("C:\\模型\\decoder.onnx", "win32")).toBe("C:\\模型\\decoder.onnx");
    expect(nativePath(`/${"x".repeat(300)}`, "linux")).toBe(`/${"x".repeat(300)}`);
  });
});
