import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { resolveSettings } from "../../src/cli/settings.ts";
import { UsageError } from "../../src/cli/usage-error.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "napcat-vlm-settings-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function config(content: unknown): string {
  const path = join(directory, "config.json");
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}

describe("resolveSettings", () => {
  it("defaults to the tiny chat model on the CPU and to loopback", () => {
    const settings = resolveSettings({}, {});
    expect(settings).toEqual({
      model: expect.stringMatching(/examples[\\/]tiny-chat$/),
      device: "cpu",
      precision: undefined,
      host: "127.0.0.1",
      port: 9999,
      napcat: undefined,
      fallback: [],
      imageHosts: [],
      debugToken: undefined,
      file: undefined,
      sections: { napcat: {}, vlm: {}, bot: {}, debugHttp: {}, store: {}, log: {} },
    });
  });

  it("takes hosts of pictures as a list with commas, or as a list in the file", () => {
    const hosts = ["img.example.com", "127.0.0.1:8080"];
    expect(resolveSettings({ "image-hosts": hosts.join(",") }, {}).imageHosts).toEqual(hosts);
    expect(resolveSettings({}, { IMAGE_HOSTS: hosts.join(", ") }).imageHosts).toEqual(hosts);
    const file = config({ imageHosts: hosts });
    expect(resolveSettings({ config: file }, {}).imageHosts).toEqual(hosts);
    expect(() => resolveSettings({ "image-hosts": "http://a/b" }, {})).toThrow(
      "--image-hosts: expected hosts such as",
    );
  });

  it("lets flags win over the environment, and the environment over the file", () => {
    const file = config({ model: "m", port: 1, host: "file", device: "webgpu" });
    const env = { PORT: "2", HOST: "env", NAPCAT_URL: "ws://a", NAPCAT_TOKEN: "secret" };
    expect(resolveSettings({ config: file, port: "3" }, env)).toMatchObject({
      model: join(directory, "m"),
      port: 3,
      host: "env",
      device: "webgpu",
      napcat: { url: "ws://a", token: "secret" },
    });
  });

  it("takes an empty variable for one that is not set", () => {
    expect(resolveSettings({}, { PORT: "", VLM_MODEL: "" }).port).toBe(9999);
  });

  it("reads everything from a file alone", () => {
    const file = config({
      precision: "q4",
      napcat: "wss://b/c",
      napcatToken: "n",
      debugToken: "0123456789abcdef",
      port: "0",
    });
    expect(resolveSettings({ config: file }, {})).toMatchObject({
      precision: "q4",
      napcat: { url: "wss://b/c", token: "n" },
      debugToken: "0123456789abcdef",
      port: 0,
    });
  });

  it("reads `cuda` as the first device", () => {
    expect(resolveSettings({ device: "cuda" }, {}).device).toBe("cuda:0");
  });

  it.each([
    [{ port: "65536" }, {}, "--port: expected a port from 0 to 65535, got `65536`."],
    [{ port: "1.5" }, {}, "--port: expected a port from 0 to 65535, got `1.5`."],
    [{ port: "-1" }, {}, "--port: expected a port"],
    [{ port: "" }, {}, "--port is empty."],
    [{}, { PORT: "http" }, "PORT: expected a port from 0 to 65535, got `http`."],
    [{}, { VLM_DEVICE: "gpu" }, "VLM_DEVICE: expected cpu, cuda:N, webgpu or auto, got `gpu`."],
    [
      { precision: "int8" },
      {},
      '--precision: expected one of "fp32", "w8a8", "q4", "fp16", "q4f16", "w8a16", got `int8`.',
    ],
    [{ host: "http://a" }, {}, "--host: expected a host name or an IP address"],
    [{ napcat: "127.0.0.1:3001" }, {}, "--napcat: expected a ws:// or wss:// address"],
    [{ napcat: "http://a" }, {}, "--napcat: expected a ws:// or wss:// address"],
    [{ napcat: "ws://a/?access_token=CANARY" }, {}, /^--napcat: expected (?!.*CANARY)/u],
    [{ napcat: "ws://a:CANARY@b" }, {}, /^--napcat: expected (?!.*CANARY)/u],
    [{ model: "" }, {}, "--model is empty."],
    [{ model: "openai:http://user:pass@host/v1" }, {}, "--model: expected a directory, a name, or"],
  ])("refuses %o with %o", (flags, env, message) => {
    expect(() => resolveSettings(flags, env)).toThrow(UsageError);
    expect(() => resolveSettings(flags, env)).toThrow(message);
  });

  it("takes the file of the working directory when none is named", () => {
    config('{ "port": 1 }');
    renameSync(join(directory, "config.json"), join(directory, "napcat-vlm.jsonc"));
    const settings = resolveSettings({}, { HOST: "env" }, directory);
    expect(settings).toMatchObject({ port: 1, host: "env" });
    expect(settings.file).toBe(join(directory, "napcat-vlm.jsonc"));
  });

  it.each([
    ["{", "config.json:1:2 a closing } is missing"],
    ["[]", "the file: expected an object, got a list of 0."],
    [{ prot: 1 }, "`prot` is not known. Did you mean `port`? Known are $schema, model, device,"],
    [{ toString: 1 }, "`toString` is not known."],
    [{ port: true }, "`port`: expected a port from 0 to 65535, got true."],
    [{ model: 7 }, "`model`: expected a non-empty string, got 7."],
  ])("refuses a bad file (%#)", (content, message) => {
    const file = config(content);
    expect(() => resolveSettings({ config: file }, {})).toThrow(UsageError);
    expect(() => resolveSettings({ config: file }, {})).toThrow(message);
  });

  it("reads a file with a byte order mark, as Windows editors write it", () => {
    const file = config('\uFEFF{ "port": 8080 }');
    expect(resolveSettings({ config: file }, {}).port).toBe(8080);
  });

  it("refuses a file that is not there", () => {
    expect(() => resolveSettings({ config: join(directory, "none") }, {})).toThrow(/ENOENT/);
  });

  it("never shows a token", () => {
    expect(() => resolveSettings({}, { DEBUG_TOKEN: "short-secret" })).toThrow(
      /^DEBUG_TOKEN: expected at least 16 characters\.$/,
    );
    expect(() => resolveSettings({}, { DEBUG_TOKEN: "密".repeat(16) })).toThrow(
      /^DEBUG_TOKEN: expected ASCII characters without spaces, for it travels in a header\.$/,
    );
  });
});
