import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ConfigError, findConfig, readConfigFile } from "../../../src/cli/config/config-file.ts";
import { UsageError } from "../../../src/cli/usage-error.ts";
import { effort } from "../../support/fuzz.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "napcat-vlm-config-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function file(text: string, name = "bot.jsonc"): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

/** What stands for an environment variable in a file. */
const variable = (name: string) => `\${${name}}`;

const read = (text: string, env = {}) => readConfigFile(file(text), env);

function refusal(text: string, env = {}): ConfigError {
  try {
    read(text, env);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error("The file was taken.");
}

/** `line:column text` of every problem, with the names that would have been known. */
const problems = (text: string, env = {}) =>
  refusal(text, env).problems.map(({ place, text: said, known }) =>
    [`${place.line}:${place.column} ${said}`, known?.join(", ")]
      .filter(Boolean)
      .join(" Known are "),
  );

describe("readConfigFile", () => {
  it("takes comments, commas behind the last element and a byte order mark", () => {
    const { short, sections } = read(
      '\uFEFF// mine\n{ "port": 8080, /* in the group */ "bot": { "admins": ["1",], }, }\n',
    );
    expect(short).toEqual({ port: 8080 });
    expect(sections.bot).toEqual({ admins: ["1"] });
  });

  it("gives each function its options, and what short keys name as well", () => {
    const { short, sections } = read(`{
      "napcat": { "url": "ws://127.0.0.1:3001", "token": "t", "heartbeatMs": 5000 },
      "vlm": { "model": "./m", "device": "cuda:1", "threads": 1, "packageDir": "p" },
      "bot": {
        "chats": { "group:1": { "systemPrompt": "喵" } },
        "limits": { "personPerMinute": 3 },
        "phrases": { "busy": "等等" },
      },
      "debugHttp": { "host": "0.0.0.0", "port": 0, "token": "0123456789abcdef", "limits": { "maxPictures": 2 } },
      "store": { "directory": "/data", "ttlMs": 1000 },
      "log": { "level": "debug" },
    }`);
    expect(short).toEqual({
      napcat: "ws://127.0.0.1:3001",
      napcatToken: "t",
      model: join(directory, "m"),
      device: "cuda:1",
      host: "0.0.0.0",
      port: 0,
      debugToken: "0123456789abcdef",
      data: "/data",
    });
    expect(sections.vlm).toMatchObject({ threads: 1, packageDir: join(directory, "p") });
    expect(sections.bot.chats).toEqual({ "group:1": { systemPrompt: "喵" } });
    expect(sections.log).toEqual({ level: "debug" });
    expect(sections.napcat.heartbeatMs).toBe(5000);
  });

  it("names everything that is wrong at once, each with its place, what was expected and what may be meant", () => {
    const text = `{
  "vlm": { "devise": "cpu", "precision": "w8a6" },
  "bot": {
    "reply": { "qoute": "never", "maxCharacters": "1500" },
    "triggers": { "group": ["mentoin"], "private": "true" },
    "chats": { "grup:1": {}, "group:2": { "isolation": 3 } },
  },
  "prot": 9999
}`;
    expect(problems(text)).toEqual([
      expect.stringMatching(
        /^2:12 `vlm.devise` is not known. Did you mean `device`\? Known are model, /,
      ),
      '2:42 `vlm.precision`: expected one of "fp32", "w8a8", "q4", "fp16", "q4f16", "w8a16", got a text of 4 characters. Did you mean "w8a8"?',
      expect.stringMatching(/^4:16 `bot.reply.qoute` is not known. Did you mean `quote`\?/),
      "4:51 `bot.reply.maxCharacters`: expected an integer >= 20, got a text of 4 characters. Write it without quotes.",
      expect.stringMatching(
        /^5:29 `bot.triggers.group\[0\]`: expected one of .* Did you mean "mention"\?$/,
      ),
      "5:52 `bot.triggers.private`: expected true or false, got a text of 4 characters. Write it without quotes.",
      expect.stringMatching(
        /^6:26 `bot.chats.grup:1` is no key that fits here: expected an object with keys such as/,
      ),
      '6:56 `bot.chats.group:2.isolation`: expected one of "chat", "person-in-chat", "person", got 3.',
      expect.stringMatching(/^8:3 `prot` is not known. Did you mean `port`\? Known are \$schema, /),
    ]);
  });

  it.each([
    ["", ["1:1 the file is empty"]],
    ["{", ["1:2 a closing } is missing"]],
    ['{ "a" 1,\n  "b": }', ["1:7 a colon is missing", "2:8 a value is missing"]],
    ["{ port: 1 }", ["1:3 this is no JSON: texts stand in double quotes"]],
    ["[]", ["1:1 the file: expected an object, got a list of 0."]],
    ['{ "port": 1, "port": 2 }', ["1:14 this key stands here for the second time"]],
    [
      '{ "host": "a", "debugHttp": { "host": "b" } }',
      ["1:3 `host` is the same as `debugHttp.host`: give one of them."],
    ],
    ['{ "bot": { "hooks": {} } }', [expect.stringMatching(/^1:12 `bot.hooks` is not known/)]],
    [
      '{ "__proto__": 1, "toString": 2 }',
      [
        expect.stringMatching(/^1:3 `__proto__` is not known/),
        expect.stringMatching(/^1:19 `toString` is not known/),
      ],
    ],
    ["[".repeat(100_000), ["1:1 the file is nested too deeply"]],
  ])("says what is wrong with %s", (text, expected) => {
    expect(problems(text)).toEqual(expected);
  });

  it("takes secrets from the environment, and says which variable is missing", () => {
    const text = `{ "napcat": { "url": "ws://a", "token": "${variable("BOT_TOKEN")}" } }`;
    expect(read(text, { BOT_TOKEN: "hush" }).short.napcatToken).toBe("hush");
    expect(problems(text)).toEqual(["1:41 the environment variable BOT_TOKEN is not set."]);
    expect(problems(`{ "bot": { "admins": ["${variable("WHO")}"] } }`)).toEqual([
      "1:23 the environment variable WHO is not set.",
    ]);
    const kept = read(`{ "bot": { "systemPrompt": "say ${variable("x")} and $y" } }`, { x: "no" });
    expect(kept.sections.bot.systemPrompt).toBe(`say ${variable("x")} and $y`);
  });

  it("never shows a value, wherever it stands", () => {
    const text = `{
      "napcat": { "url": "http://CANARY", "token": 5555555555, "tokn": "CANARY" },
      "debugHttp": { "token": "CANARY", "port": "CANARY", "host": "CANARY!" },
      "vlm": { "device": "CANARY" },
      "CANARY with spaces": 1,
      "bot": { "admins": "\${SECRET}", "limits": "CANARY" },
    }`;
    const { message } = refusal(text, { SECRET: "CANARY" });
    expect(message).toContain("10 problems");
    expect(message).not.toMatch(/CANARY|5555/);
  });

  it("lists the names that are known once for each place, and thirty problems of any number", () => {
    const { message } = refusal('{ "a1": 1, "b2": 2, "vlm": { "c3": 3 } }');
    expect(message.match(/Known are \$schema/gu)).toHaveLength(1);
    expect(message.match(/Known are/gu)).toHaveLength(2);
    const many = Object.fromEntries(Array.from({ length: 100 }, (_, key) => [`key${key}`, 1]));
    const { message: long, problems: all } = refusal(JSON.stringify(many));
    expect(all).toHaveLength(100);
    expect(long.split("\n")).toHaveLength(32);
    expect(long).toMatch(/and 70 more$/u);
  });

  it("refuses what is no file of settings", () => {
    expect(() => readConfigFile(join(directory, "none"), {})).toThrow(UsageError);
    expect(() => read(`{"bot":{"systemPrompt":"${"x".repeat(2 ** 20)}"}}`)).toThrow("too large");
  });

  it("takes or refuses whatever is in a file, names a place and shows no secret", () => {
    const secret = "CANARY-5e1f";
    const name = fc.oneof(
      fc.constantFrom("napcat", "vlm", "bot", "token", "url", "port", "chats", "group:1", "reply"),
      fc.string(),
    );
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { depthSize: "small" },
        fc.constantFrom<unknown>(secret, variable(secret), variable("HUSH")),
        fc.jsonValue(),
        fc.array(tie("tree"), { maxLength: 3 }),
        fc.dictionary(name, tie("tree"), { maxKeys: 4 }),
      ),
    }));
    const damaged = fc
      .tuple(tree, fc.nat(), fc.string({ maxLength: 3 }), fc.boolean())
      .map(([value, at, junk, whole]) => {
        const text = JSON.stringify(value);
        const place = at % (text.length + 1);
        return whole ? text : text.slice(0, place) + junk + text.slice(place + junk.length);
      });
    fc.assert(
      fc.property(fc.oneof(damaged, fc.string()), (text) => {
        try {
          read(text, { HUSH: secret });
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigError);
          const { problems: found, message } = error as ConfigError;
          expect(found.length).toBeGreaterThan(0);
          for (const { place } of found) {
            expect(Math.min(place.line, place.column)).toBeGreaterThanOrEqual(1);
          }
          expect(message).not.toContain(secret);
        }
      }),
      effort(),
    );
  });
});

describe("findConfig", () => {
  it("finds the file of a directory, and does not choose between two", () => {
    expect(findConfig(directory)).toBeUndefined();
    const json = file("{}", "napcat-vlm.json");
    expect(findConfig(directory)).toBe(json);
    file("{}", "napcat-vlm.jsonc");
    expect(() => findConfig(directory)).toThrow("name one with `--config`");
  });
});
