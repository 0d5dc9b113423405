// `napcat-vlm init` at a scripted terminal: real prompts on streams, a NapCat behind a real WebSocket.

import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { stripVTControlCharacters } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readConfigFile } from "../../src/cli/config/config-file.ts";
import { questionsAt } from "../../src/cli/init/questions.ts";
import { type InitOptions, type InitParts, init } from "../../src/cli/init.ts";
import { UsageError } from "../../src/cli/usage-error.ts";
import { type NapCatServer, startNapCatServer } from "../support/napcat-server.ts";

const ENTER = "\r";
const DOWN = "\u001b[B";
const NOTHING: InitOptions = {
  file: undefined,
  napcat: undefined,
  model: undefined,
  admins: undefined,
  groups: undefined,
  yes: false,
  force: false,
  language: "en",
};

let directory: string;
let napcat: NapCatServer;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "napcat-vlm-init-"));
  napcat = await startNapCatServer({ token: "hush-hush" });
  napcat.answer("get_version_info", () => ({ app_name: "NapCat.Onebot", app_version: "4.18.0" }));
  napcat.answer("get_group_list", () => [
    { group_id: 123456, group_name: "看图群" },
    { group_id: 777, group_name: "闲聊" },
  ]);
});
afterEach(async () => {
  await napcat.close();
  rmSync(directory, { recursive: true, force: true });
});

const file = () => join(directory, "napcat-vlm.jsonc");

/** A person: waits for a question, then types. */
class Person {
  readonly input = new PassThrough();
  readonly output = new PassThrough();
  shown = "";
  #seen = 0;
  readonly #waiting = new Set<() => void>();

  constructor() {
    // A prompt ends its output when it is answered, which a terminal does not heed.
    this.output.end = () => this.output;
    this.output.setEncoding("utf8").on("data", (text: string) => this.hear(text));
  }

  hear(text: string): void {
    // Lines are as long as the path of the directory makes them, and broken where a terminal ends.
    this.shown += stripVTControlCharacters(text).replace(/\s+/g, " ");
    for (const look of this.#waiting) look();
  }

  /** Types once the question is there; what was shown before does not count. */
  async answer(question: RegExp, ...keys: readonly string[]): Promise<void> {
    await new Promise<void>((resolve) => {
      const look = () => {
        const found = question.exec(this.shown.slice(this.#seen));
        if (found === null) return;
        this.#seen += found.index + found[0].length;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      look();
    });
    // One key in each turn of the event loop, as from a keyboard.
    for (const key of keys) {
      await new Promise((resolve) => setImmediate(resolve));
      this.input.write(key);
    }
  }
}

function begin(options: Partial<InitOptions> = {}, env: InitParts["env"] = {}, isTerminal = true) {
  const person = new Person();
  const ended = init({ ...NOTHING, ...options }, new AbortController().signal, {
    env,
    directory,
    isTerminal,
    questions: (signal) => questionsAt({ input: person.input, output: person.output, signal }),
    print: (line) => person.hear(`${line}\n`),
  });
  ended.catch(() => {});
  return { person, ended };
}

describe("napcat-vlm init", () => {
  it("asks, tries the connection, proposes the account's groups and writes a file only its owner reads", async () => {
    const { person, ended } = begin({ napcat: napcat.url });
    await person.answer(/Address of NapCat/, ENTER);
    await person.answer(/NapCat's token/, "wrong", ENTER);
    await person.answer(/not connected: .*token[\s\S]*What now\?/, DOWN, ENTER);
    await person.answer(/Address of NapCat/, ENTER);
    await person.answer(/NapCat's token/, "hush-hush", ENTER);
    await person.answer(/connected: NapCat.Onebot 4.18.0, QQ \d+[\s\S]*Where is the token/, ENTER);
    await person.answer(/Model: /, "./missing", ENTER);
    await person.answer(/missing is not there yet[\s\S]*admins/, "10001, 10002", ENTER);
    await person.answer(/Which groups[\s\S]*闲聊 \(777\)/, DOWN, " ", ENTER);
    expect(await ended).toBe(0);

    expect(person.shown).not.toContain("hush-hush");
    if (process.platform !== "win32") expect(statSync(file()).mode & 0o777).toBe(0o600);
    const { short, sections } = readConfigFile(file(), {});
    expect(short).toMatchObject({
      napcat: napcat.url,
      napcatToken: "hush-hush",
      model: join(directory, "missing"),
    });
    expect(sections.bot).toEqual({
      admins: ["10001", "10002"],
      access: { groups: { allow: ["777"] } },
    });
    expect(readFileSync(file(), "utf8")).toMatch(/"\$schema": ".*napcat-vlm\.schema\.json"/);
  });

  it("goes on without a connection, and leaves a token in the environment", async () => {
    const { person, ended } = begin({ napcat: "ws://127.0.0.1:1" }, { NAPCAT_TOKEN: "hush-hush" });
    await person.answer(/Address of NapCat/, ENTER);
    await person.answer(/token \(Enter: that of NAPCAT_TOKEN\)/, ENTER);
    await person.answer(/not connected: Is NapCat running[\s\S]*What now\?/, DOWN, DOWN, ENTER);
    await person.answer(/Model: /, ENTER);
    await person.answer(/admins/, "nobody", ENTER);
    await person.answer(/numbers with commas between/, ..."\b".repeat(6), ENTER);
    await person.answer(/Numbers of the groups/, ENTER);
    expect(await ended).toBe(0);
    expect(readFileSync(file(), "utf8")).not.toContain("hush-hush");
    const { short, sections } = readConfigFile(file(), { NAPCAT_TOKEN: "hush-hush" });
    expect(short).toEqual({ napcat: "ws://127.0.0.1:1", napcatToken: "hush-hush" });
    expect(sections.bot.access).toEqual({ groups: { allow: ["*"] } });
  });

  it("overwrites nothing without a yes, and writes nothing when it is left", async () => {
    writeFileSync(file(), "mine");
    const kept = begin();
    await kept.person.answer(/there already. Overwrite/, ENTER);
    expect(await kept.ended).toBe(1);
    const left = begin({ file: "other.jsonc" });
    await left.person.answer(/Address of NapCat/, "\u0003");
    expect(await left.ended).toBe(0);
    expect(left.person.shown).toContain("Nothing was changed.");
    await expect(begin({ yes: true }).ended).rejects.toThrow("--force overwrites it");
    expect(readFileSync(file(), "utf8")).toBe("mine");
    expect(existsSync(join(directory, "other.jsonc"))).toBe(false);
    expect(await begin({ yes: true, force: true }).ended).toBe(0);
    expect(readConfigFile(file(), {}).short).toEqual({});
  });

  it("asks nothing with --yes, and without a terminal says so", async () => {
    const flags = { napcat: napcat.url, model: "qwen3-vl-2b", admins: "10001", groups: "1,2*" };
    const env = { NAPCAT_TOKEN: "hush-hush" };
    await expect(begin(flags, env, false).ended).rejects.toThrow(UsageError);
    await expect(begin(flags, env, false).ended).rejects.toThrow(/no terminal: use --yes/);
    const { person, ended } = begin({ ...flags, yes: true, language: "zh" }, env, false);
    expect(await ended).toBe(0);
    expect(person.shown).toMatch(/已连接：NapCat\.Onebot/);
    const { short, sections } = readConfigFile(file(), env);
    expect(short).toEqual({
      napcat: napcat.url,
      napcatToken: "hush-hush",
      model: "qwen3-vl-2b",
    });
    expect(sections.bot).toEqual({
      admins: ["10001"],
      access: { groups: { allow: ["1", "2*"] } },
    });
    await expect(begin({ yes: true, force: true, admins: "bob" }).ended).rejects.toThrow(
      "numbers with commas",
    );
  });
});
