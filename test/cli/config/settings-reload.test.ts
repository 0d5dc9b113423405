import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SettingsReload } from "../../../src/cli/config/settings-reload.ts";
import { createLog } from "../../../src/cli/log.ts";
import { resolveSettings, type Settings } from "../../../src/cli/settings.ts";
import { RecordingLogger } from "../../support/recording-logger.ts";

let directory: string;
let file: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "napcat-vlm-reload-"));
  file = join(directory, "bot.jsonc");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function setUp(text: string, late: readonly string[] = []) {
  writeFileSync(file, text);
  const read = () => resolveSettings({ config: file }, {});
  const logger = new RecordingLogger();
  const applied: Settings[] = [];
  const apply = (settings: Settings) => {
    applied.push(settings);
    return late;
  };
  const reload = new SettingsReload({ settings: read(), read, apply, logger });
  return { reload, logger, applied };
}

describe("SettingsReload", () => {
  it("applies what the file says now, once for each change", () => {
    const { reload, applied, logger } = setUp('{ "bot": { "admins": ["1"] } }');
    expect(reload.reloadIfChanged()).toBe("unchanged");
    writeFileSync(file, '{ "bot": { "admins": ["2"] } }');
    expect(reload.reloadIfChanged()).toBe("reloaded");
    expect(reload.reloadIfChanged()).toBe("unchanged");
    expect(applied.map(({ sections }) => sections.bot.admins)).toEqual([["2"]]);
    expect(logger.lines).toHaveLength(1);
    expect(reload.reload()).toBe("reloaded");
    expect(applied).toHaveLength(2);
  });

  it("keeps the old settings and says all problems in one line, without what stands there", () => {
    const { reload, applied, logger } = setUp("{}");
    writeFileSync(file, '{ "bot": { "admins": "CANARY" },\n "prot": 1, "napcatToken": 5 }');
    expect(reload.reloadIfChanged()).toBe("refused");
    expect(applied).toEqual([]);
    expect(logger.lines).toHaveLength(1);
    const said = JSON.stringify(logger.lines);
    expect(said).toMatch(/bot\.jsonc.*1:22 `bot\.admins`.*2:2 `prot`.*2:28 `napcatToken`/);
    expect(said).not.toContain("CANARY");
    writeFileSync(file, "{}");
    expect(reload.reloadIfChanged()).toBe("reloaded");
  });

  it("loses no problem to the length of a line of the log", () => {
    const written: string[] = [];
    const log = createLog({
      forPeople: false,
      stream: { write: (line) => void written.push(line) },
    });
    writeFileSync(file, "{}");
    const read = () => resolveSettings({ config: file }, {});
    const reload = new SettingsReload({ settings: read(), read, apply: () => [], logger: log });
    const wrong = {
      bot: { admin: ["1"], reply: { qoute: "x" } },
      prot: 1,
      store: { diretory: "x" },
    };
    writeFileSync(file, JSON.stringify(wrong, null, 1));
    expect(reload.reloadIfChanged()).toBe("refused");
    expect(written).toHaveLength(1);
    const line: Record<string, unknown> = JSON.parse(written[0] ?? "");
    expect(line.problems).toBe(4);
    const named = [1, 2, 3, 4].map(
      (number) => /`([^`]+)`/.exec(String(line[`problem${number}`]))?.[1],
    );
    expect(named).toEqual(["bot.admin", "bot.reply.qoute", "prot", "store.diretory"]);
  });

  it("waits for a file that an editor is just putting in place", () => {
    const { reload } = setUp("{}");
    renameSync(file, `${file}~`);
    expect(reload.reloadIfChanged()).toBe("unchanged");
    writeFileSync(`${file}.new`, '{ "log": { "level": "debug" } }');
    renameSync(`${file}.new`, file);
    expect(reload.reloadIfChanged()).toBe("reloaded");
  });

  it("says in one line what needs a restart, as long as it differs from the start", () => {
    const { reload, logger } = setUp('{ "port": 1, "vlm": { "maxQueue": 1 } }', [
      "history.maxChats",
    ]);
    writeFileSync(
      file,
      '{ "port": 2, "vlm": { "maxQueue": 2 }, "napcat": "ws://a", "napcatToken": "t" }',
    );
    reload.reloadIfChanged();
    reload.reload();
    expect(logger.lines).toHaveLength(2);
    for (const line of logger.lines) {
      expect(JSON.stringify(line)).toContain("history.maxChats, port, napcat, vlm.maxQueue");
    }
  });
});
