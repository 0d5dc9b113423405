// The tables of the documentation in both languages against the code: every option, flag, variable, graph name and error code is there, with
// its default, and none that the code does not know.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { resolveLimits } from "../src/bot/debug-http/limits.ts";
import type { DebugServerOptions } from "../src/bot/debug-http/server.ts";
import { parseConnectOptions } from "../src/bot/napcat/connect-options.ts";
import { parseInstallOptions } from "../src/bot/options.ts";
import { parseStoreOptions } from "../src/bot/store/chat-store.ts";
import { SHORT_KEYS } from "../src/cli/config/short-keys.ts";
import { HELP } from "../src/cli/help.ts";
import { resolveSettings } from "../src/cli/settings.ts";
import { parseConfig } from "../src/vlm/checkpoint/config.ts";
import { parseGenerationConfig } from "../src/vlm/checkpoint/generation-config.ts";
import { decoderGraph } from "../src/vlm/convert/decoder-graph.ts";
import { DEFAULT_PRECISION } from "../src/vlm/convert/ensure-package.ts";
import { visionGraph } from "../src/vlm/convert/vision-graph.ts";
import { resolvePullOptions } from "../src/vlm/hub/pull-options.ts";
import { DEFAULT_CONTEXT_TOKENS, resolveLoadOptions } from "../src/vlm/options.ts";
import { DEFAULT_COOL_DOWN_MS, fallback } from "../src/vlm/remote/fallback.ts";
import { resolveOpenAiVlmOptions } from "../src/vlm/remote/open-ai-options.ts";
import { DEFAULT_MAX_TOKENS, resolveRequest } from "../src/vlm/request-options.ts";
import { FakeVisionLanguageModel } from "../src/vlm/testing.ts";
import { allTables, blockOf, LANGUAGES, read, tableOf } from "./support/book.ts";
import { codes, type Table } from "./support/markdown.ts";
import { CONFIG_2B } from "./support/synthetic-checkpoint.ts";

let temporary: string;
beforeAll(async () => {
  temporary = await mkdtemp(join(tmpdir(), "napcat-vlm-docs-"));
});
afterAll(() => rm(temporary, { recursive: true, force: true }));

async function temporaryFile(text: string): Promise<string> {
  const path = join(temporary, "config.json");
  await writeFile(path, text);
  return path;
}

/** The names in an error such as "Unknown option `x`. Known are a, b." */
function knownOptions(refused: () => unknown): string[] {
  try {
    refused();
  } catch (error) {
    const list = /Known are ([^.]+)\./.exec((error as Error).message)?.[1];
    if (list !== undefined) return list.split(", ");
    throw error;
  }
  throw new Error("An unknown option was taken.");
}

/** `{ history: { maxTurns: 12 } }` as `history.maxTurns`. */
function flatten(value: object, prefix = ""): [string, unknown][] {
  return Object.entries(value).flatMap(([key, inner]) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? flatten(inner, `${prefix}${key}.`)
      : [[`${prefix}${key}`, inner] as [string, unknown]],
  );
}

/** What a table has to say of a default: values in backticks, or words where there is no value. */
function expectDefaults(rows: Table["rows"], expected: Readonly<Record<string, unknown>>): void {
  for (const [option, value] of Object.entries(expected)) {
    const cell = rows.find(([name]) => name === `\`${option}\``)?.[1] ?? "";
    if (value === undefined || (Array.isArray(value) && value.length === 0)) {
      expect(cell, `default of ${option}`).not.toMatch(/`[\d"]/);
      expect(cell, `default of ${option}`).not.toBe("");
    } else {
      expect(codes(cell), `default of ${option}`).toEqual([value].flat().map(String));
    }
  }
}

/** The compiler sees to it that none is missing. */
const DEBUG_SERVER_OPTIONS: Readonly<Record<keyof DebugServerOptions, string>> = {
  responder: "",
  model: "",
  host: "127.0.0.1",
  port: "",
  token: "",
  limits: "",
  shouldReply: "",
  watched: "",
  onError: "",
};

describe.each(LANGUAGES)("options in %s", (language) => {
  const names = (label: string) => tableOf(language, label).map(([name = ""]) => codes(name)[0]);

  it("are all of loadQwen3Vl's, with their defaults", () => {
    const known = knownOptions(() => resolveLoadOptions({ model: "x", wrong: 1 } as never));
    const listed = names("options: loadQwen3Vl");
    expect([...new Set(listed.map((name) => name?.split(".")[0]))].toSorted()).toEqual(
      known.toSorted(),
    );
    const knownOfImages = knownOptions(() =>
      resolveLoadOptions({ model: "x", images: { wrong: 1 } } as never),
    );
    expect(listed.filter((name) => name?.startsWith("images.")).toSorted()).toEqual(
      knownOfImages.map((name) => `images.${name}`).toSorted(),
    );
    const { signal, packageDir, onProgress, onWarning, model, images, ...defaults } =
      resolveLoadOptions({ model: "x" });
    expectDefaults(tableOf(language, "options: loadQwen3Vl"), {
      ...defaults,
      "images.maxFrames": images.maxFrames,
      "images.maxTiles": images.maxTiles,
      precision: DEFAULT_PRECISION,
      maxContextTokens: DEFAULT_CONTEXT_TOKENS,
    });
  });

  it("are all of a request's, with their defaults", () => {
    const generation = parseGenerationConfig(undefined, "none", { eosTokenIds: [] });
    const messages = [{ role: "user" as const, content: "?" }];
    const known = knownOptions(() => resolveRequest({ messages, wrong: 1 } as never, generation));
    expect(names("options: generate").toSorted()).toEqual(known.toSorted());
    const { sampling } = resolveRequest({ messages }, generation);
    expectDefaults(tableOf(language, "options: generate"), {
      maxTokens: DEFAULT_MAX_TOKENS,
      presencePenalty: sampling.presencePenalty,
      frequencyPenalty: sampling.frequencyPenalty,
      tools: undefined,
      stop: undefined,
      temperature: undefined,
      seed: undefined,
    });
  });

  it("are all of pullModel's, with their defaults", () => {
    const label = "options: pullModel";
    const known = knownOptions(() => resolvePullOptions({ model: "a/b", wrong: 1 } as never));
    expect(names(label).toSorted()).toEqual(known.toSorted());
    const { hub, convert, device, keepCheckpoint, connections } = resolvePullOptions({
      model: "a/b",
    });
    expectDefaults(tableOf(language, label), {
      ...{ hub, convert, device, keepCheckpoint, connections },
      signal: undefined,
    });
  });

  it("are all of installVlm's, with their defaults", () => {
    const model = new FakeVisionLanguageModel();
    const known = knownOptions(() => parseInstallOptions({ model, wrong: 1 } as never));
    const label = "options: installVlm";
    expect([...new Set(names(label).map((name) => name?.split(".")[0]))].toSorted()).toEqual(
      known.toSorted(),
    );
    const groups = [
      ...["triggers", "merge", "priority", "reply", "history", "images"],
      ...["access", "limits", "breaker", "loopGuard", "commands", "toolLimits"],
    ];
    for (const group of groups) {
      const inner = knownOptions(() => parseInstallOptions({ model, [group]: { wrong: 1 } }));
      const shown = names(label).filter((name) => name?.startsWith(`${group}.`));
      const top = [...new Set(shown.map((name) => name?.split(".").slice(0, 2).join(".")))];
      expect(top.toSorted()).toEqual(inner.map((key) => `${group}.${key}`).toSorted());
    }
    const {
      responder,
      triggers,
      access,
      limits,
      breaker,
      loopGuard,
      merge,
      queuePolicy,
      priority,
      admins,
      reply,
      images,
      turnTimeoutMs,
      maxMessageAgeMs,
    } = parseInstallOptions({ model });
    const { history, tools, toolLimits, maxQueue, maxQueuePerChat } = responder;
    expectDefaults(tableOf(language, label), {
      ...Object.fromEntries(
        flatten({
          triggers,
          merge,
          priority,
          reply,
          images,
          history,
          access,
          limits,
          breaker,
          loopGuard,
          toolLimits,
        }),
      ),
      queuePolicy,
      isolation: responder.isolation,
      store: responder.store,
      tools,
      admins,
      maxQueue,
      maxQueuePerChat,
      turnTimeoutMs,
      maxMessageAgeMs,
      maxTokens: responder.maxTokens,
    });
  });

  it("are all of a tool's", () => {
    const model = new FakeVisionLanguageModel();
    const tools = [{ name: "a", execute() {}, wrong: 1 }] as never;
    const known = knownOptions(() => parseInstallOptions({ model, tools }));
    const listed = names("fields: tool").map((name) => name?.replace(/\(.*/, ""));
    expect(listed.toSorted()).toEqual(known.toSorted());
  });

  it("are all of connectNapCat's, with their defaults", () => {
    const url = "ws://127.0.0.1:3001";
    const known = knownOptions(() => parseConnectOptions({ url, wrong: 1 } as never));
    expect(names("options: connectNapCat").toSorted()).toEqual(known.toSorted());
    const { url: _url, token: _token, logger, signal, ...defaults } = parseConnectOptions({ url });
    expectDefaults(tableOf(language, "options: connectNapCat"), { ...defaults, token: undefined });
  });

  it("are all of openAiVlm's and fallback's, with their defaults", () => {
    const baseURL = "http://127.0.0.1:8000/v1";
    const known = knownOptions(() => resolveOpenAiVlmOptions({ baseURL, wrong: 1 } as never));
    expect(names("options: openAiVlm").toSorted()).toEqual(known.toSorted());
    const {
      baseURL: _baseURL,
      headers,
      extraBody,
      contextTokens,
      fetch,
      ...defaults
    } = resolveOpenAiVlmOptions({ baseURL });
    expectDefaults(tableOf(language, "options: openAiVlm"), defaults);
    const members = [new FakeVisionLanguageModel()];
    const knownOfFallback = knownOptions(() => fallback(members, { wrong: 1 } as never));
    expect(names("options: fallback").toSorted()).toEqual(knownOfFallback.toSorted());
    expectDefaults(tableOf(language, "options: fallback"), { coolDownMs: DEFAULT_COOL_DOWN_MS });
  });

  it("are all of openChatStore's, with their defaults", () => {
    const label = "options: openChatStore";
    const known = knownOptions(() => parseStoreOptions({ directory: "a", wrong: 1 } as never));
    expect(names(label).toSorted()).toEqual(known.toSorted());
    const { ttlMs, maxPictureBytes } = parseStoreOptions({ directory: "a" });
    expectDefaults(tableOf(language, label), { ttlMs, maxPictureBytes });
  });

  it("are all of startDebugServer's, with every limit and its default", () => {
    const label = "options: startDebugServer";
    const limits = Object.fromEntries(flatten({ limits: resolveLimits() }));
    const { limits: _limits, ...options } = DEBUG_SERVER_OPTIONS;
    expect(names(label).toSorted()).toEqual([options, limits].flatMap(Object.keys).toSorted());
    expectDefaults(tableOf(language, label), { ...limits, host: options.host, token: undefined });
  });

  it("have every setting of the command line, with flag, variable and default", async () => {
    const rows = tableOf(language, "settings");
    const column = (index: number) =>
      rows.flatMap((row) => codes(row[index] ?? "").map((code) => code.split(" ")[0]));
    const sources = await read("src/cli/command-words.ts");
    const options = /const OPTIONS = \{([\s\S]*?)\} as const/.exec(sources)?.[1] ?? "";
    const flags = [...options.matchAll(/^ {2}"?([\w-]+)"?:/gm)].map(([, name]) => `--${name}`);
    const extra = ["--help", "--version"];
    expect([...column(0), ...extra].toSorted()).toEqual(flags.toSorted());
    expect(column(1).toSorted()).toEqual(
      [...new Set(HELP.match(/\b[A-Z]+_[A-Z_]+\b|\b(?:HOST|PORT)(?= {10})/g))].toSorted(),
    );
    expect(column(2).toSorted()).toEqual(Object.keys(SHORT_KEYS).toSorted());
    const settings = resolveSettings({}, {});
    for (const [, , key = "", shown = ""] of rows) {
      const [name] = codes(key);
      if (name === undefined) continue;
      const value = Reflect.get(settings, name) ?? (name === "precision" ? DEFAULT_PRECISION : "");
      if (name === "model") expect(value).toMatch(/examples[\\/]tiny-chat$/);
      else
        expect(codes(shown)).toEqual(
          [value]
            .flat()
            .filter((v) => v !== "")
            .map(String),
        );
    }
  });

  it("have an example of a file that the command line takes", async () => {
    const file = await temporaryFile(blockOf(language, "config file"));
    const { napcat, model } = resolveSettings({ config: file }, {});
    expect(model).toBe(join(temporary, "Qwen3-VL-2B-Instruct"));
    expect(napcat).toEqual({ url: "ws://127.0.0.1:3001", token: "secret" });
  });

  it("name the graphs' inputs and outputs", () => {
    const config = parseConfig(CONFIG_2B, "config.json");
    const rows = tableOf(language, "graphs");
    for (const [index, { model }] of [
      visionGraph(config, "fp32"),
      decoderGraph(config, "fp32"),
    ].entries()) {
      const expected = (values: readonly { readonly name: string }[]) =>
        [...new Set(values.map(({ name }) => name.replace(/\.\d+\./, ".N.")))].toSorted();
      expect(codes(rows[index]?.[0] ?? "")).toEqual([`${model.name}.onnx`]);
      expect(codes(rows[index]?.[1] ?? "").toSorted()).toEqual(expected(model.inputs));
      expect(codes(rows[index]?.[2] ?? "").toSorted()).toEqual(expected(model.outputs));
    }
  });

  it("name every error code of both halves", async () => {
    const files = ["src/vlm/errors.ts", "src/bot/errors.ts"];
    const source = (await Promise.all(files.map(read))).join("\n");
    const unions = [...source.matchAll(/ErrorCode =([^;]+);/g)].map(([, union]) => union);
    const single = [...source.matchAll(/readonly code = ("[a-z-]+");/g)].map(([, code]) => code);
    const inCode = [...unions, ...single].join().match(/[a-z]+(?:-[a-z]+)*(?=")/g) ?? [];
    const shown = allTables(language)
      .flatMap(({ rows }) => rows)
      .filter(([name = ""]) => /Error`/.test(name))
      .flatMap(([, code = ""]) => codes(code));
    expect(shown.toSorted()).toEqual(inCode.toSorted());
  });
});
