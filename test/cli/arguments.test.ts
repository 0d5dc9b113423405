import { describe, expect, it } from "vitest";
import { parseCommand } from "../../src/cli/arguments.ts";
import { OPTIONS_OF } from "../../src/cli/command-words.ts";
import { HELP, helpOf } from "../../src/cli/help.ts";
import { UsageError } from "../../src/cli/usage-error.ts";

function words(line: string): string[] {
  return line.split(" ").filter((word) => word !== "");
}

describe("parseCommand", () => {
  it.each([
    ["--help", { name: "help", of: undefined }],
    ["start -h", { name: "help", of: "start" }],
    ["--port 1 start there --help", { name: "help", of: "start" }],
    ["help", { name: "help", of: undefined }],
    ["help pull", { name: "help", of: "pull" }],
    ["help me", { name: "help", of: undefined }],
    ["version", { name: "version" }],
    ["--version", { name: "version" }],
    ["start", { name: "start", flags: {} }],
    [
      "start --model a --device cuda:1 --precision q4 --host ::1 --port 0 --napcat ws://b --config c",
      {
        name: "start",
        flags: {
          model: "a",
          device: "cuda:1",
          precision: "q4",
          host: "::1",
          port: "0",
          napcat: "ws://b",
          config: "c",
        },
      },
    ],
    ["--port=1 start --port=2", { name: "start", flags: { port: "2" } }],
    ["convert dir", { name: "convert", directory: "dir", out: undefined, lora: [], flags: {} }],
    [
      "convert dir --lora a --lora b",
      { name: "convert", directory: "dir", out: undefined, lora: ["a", "b"], flags: {} },
    ],
    [
      "convert dir --out there --precision fp32",
      { name: "convert", directory: "dir", out: "there", lora: [], flags: { precision: "fp32" } },
    ],
    ["doctor --precision q4", { name: "doctor", json: false, flags: { precision: "q4" } }],
    [
      "doctor --napcat ws://b --lang zh --json",
      { name: "doctor", language: "zh", json: true, flags: { napcat: "ws://b" } },
    ],
    [
      "pull qwen3-vl-2b",
      {
        name: "pull",
        model: "qwen3-vl-2b",
        hub: undefined,
        revision: undefined,
        keepCheckpoint: false,
        convert: true,
        connections: undefined,
        flags: {},
      },
    ],
    ["list --json", { name: "list", json: true }],
    ["verify a/b", { name: "verify", model: "a/b" }],
    ["bench", { name: "bench", size: "2b", computePriority: "normal", flags: {} }],
    [
      "bench --size mini --threads 2 --compute-priority low",
      { name: "bench", size: "mini", threads: 2, computePriority: "low", flags: {} },
    ],
    ["prove --quick", { name: "prove", quick: true, flags: {} }],
    [
      "prove --device webgpu --size mini --json there.json",
      {
        name: "prove",
        quick: false,
        size: "mini",
        json: "there.json",
        flags: { device: "webgpu" },
      },
    ],
    // Options may come first, and only the command tells whether one of them takes a word.
    [
      "--device webgpu prove --json there.json",
      { name: "prove", quick: false, json: "there.json", flags: { device: "webgpu" } },
    ],
    [
      "--json there.json --quick prove",
      { name: "prove", quick: true, json: "there.json", flags: {} },
    ],
    ["--json list", { name: "list", json: true }],
    ["--json --device cpu doctor", { name: "doctor", json: true, flags: { device: "cpu" } }],
    ["convert prove", { name: "convert", directory: "prove", out: undefined, lora: [], flags: {} }],
    ["setup-cuda", { name: "setup-cuda", force: false, libraries: false }],
    ["setup-cuda --force", { name: "setup-cuda", force: true, libraries: false }],
    [
      "setup-cuda --cuda 12 --mirror https://m.example.com/ --libraries --pypi http://p/simple",
      {
        name: "setup-cuda",
        force: false,
        libraries: true,
        cuda: 12,
        mirror: "https://m.example.com/",
        pypi: "http://p/simple",
      },
    ],
  ])("understands `%s`", (line, command) => {
    expect(parseCommand(words(line))).toEqual(command);
  });

  it.each([
    [
      "",
      "Name a command: start, init, convert, pull, list, remove, verify, path, doctor, bench, prove, setup-cuda.",
    ],
    [
      "run",
      "Unknown command `run`. Known are start, init, convert, pull, list, remove, verify, path, doctor, bench, prove, setup-cuda.",
    ],
    ["constructor", "Unknown command `constructor`."],
    ["strat", "Unknown command `strat`. Did you mean `start`? Known are"],
    ["Start", "Unknown command `Start`. Did you mean `start`? Known are"],
    ["start --frobnicate", "Unknown option '--frobnicate'."],
    ["start --prot 1", "Unknown option '--prot'. Did you mean `--port`?"],
    ["start --port -1", "Its value is missing, or begins with a dash: --port=-…."],
    ["start --port", "Option '--port <value>' argument missing."],
    ["start --port --host a", "Option '--port' argument is ambiguous."],
    ["start --out there", "`--out` is not an option of `start`."],
    ["convert dir --port 1", "`--port` is not an option of `convert`."],
    ["setup-cuda --force=yes", "Option '--force' does not take an argument."],
    ["bench --compute-priority high", "--compute-priority: expected normal or low, got `high`."],
    ["doctor --lang fr", "`--lang` is `zh` or `en`, got `fr`."],
    ["start --json", "`--json` is not an option of `start`."],
    ["prove --json", "Option '--json <value>' argument missing."],
    ["run prove --json f", "Unknown command `run`."],
    ["start extra", "`start` does not know what to do with `extra`."],
    ["setup-cuda --cuda 11", "`--cuda` is `12` or `13`, got `11`."],
    ["setup-cuda --mirror nuget", "`--mirror` is an address such as https://"],
    ["setup-cuda --pypi ftp://x", "`--pypi` is an address such as https://"],
    ["setup-cuda --sha256 12", "`--sha256` is 64 hexadecimal digits."],
    ["convert", "`convert` needs the directory of a model."],
    ["convert a b", "`convert` does not know what to do with `b`."],
  ])("refuses `%s` in one line", (line, message) => {
    expect(() => parseCommand(words(line))).toThrow(UsageError);
    expect(() => parseCommand(words(line))).toThrow(message);
    expect(() => parseCommand(words(line))).not.toThrow(/\n/);
  });
});

describe("the help of one command", () => {
  it.each(Object.entries(OPTIONS_OF))(
    "has all that `%s` takes, and nothing else",
    (name, options) => {
      const help = helpOf(name);
      const named = [...help.matchAll(/^ {2}(?:--[a-z0-9-]+[^-\n]*)+/gm)].flatMap(([words]) =>
        [...words.matchAll(/--([a-z0-9-]+)/g)].map(([, option = ""]) => option),
      );
      expect(named.toSorted()).toEqual([...options].toSorted());
      expect(help).toMatch(new RegExp(`^ {2}napcat-vlm ${name} `, "m"));
      for (const line of help.split("\n")) expect(HELP.split("\n")).toContain(line);
    },
  );

  it("names the variables that only some commands read", () => {
    expect(helpOf("pull")).toMatch(/HF_TOKEN[\s\S]*HTTPS_PROXY/);
    expect(helpOf("start")).toMatch(/NAPCAT_TOKEN[\s\S]*DEBUG_TOKEN/);
    expect(helpOf("start")).not.toContain("HF_TOKEN");
    expect(helpOf("prove")).toContain("--json FILE");
    expect(helpOf("list")).not.toContain("--json FILE");
  });

  it("leaves no option and no variable to no command", () => {
    const all = Object.keys(OPTIONS_OF).map(helpOf).join("\n");
    for (const line of HELP.split("\n")) {
      if (line.startsWith("  napcat-vlm -") || line.startsWith("  napcat-vlm COMMAND")) continue;
      expect(all).toContain(line);
    }
  });
});
