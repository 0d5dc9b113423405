import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { groupMessage } from "../../src/bot/testing.ts";
import { ChatServer, says } from "../support/chat-server.ts";
import { drawShapes } from "../support/draw.ts";
import { startNapCatServer } from "../support/napcat-server.ts";
import { startPictureServer } from "../support/picture-server.ts";
import { Running } from "../support/running.ts";
import { build, ROOT, removeBuild } from "./command.ts";

let directory: string;
let work: string;
const started: Running[] = [];

beforeAll(() => {
  directory = build();
  work = mkdtempSync(join(tmpdir(), "napcat-vlm-cli-"));
  // A checkpoint of our own: a first start converts it beside its weights.
  cpSync(join(ROOT, "examples", "tiny-chat"), join(work, "tiny-chat"), {
    recursive: true,
    filter: (path) => !path.includes(`${join("tiny-chat", "onnx")}`),
  });
});
afterEach(async () => {
  for (const running of started.splice(0)) {
    running.process.kill("SIGKILL");
    await running.ended();
  }
});
afterAll(() => {
  removeBuild(directory);
  if (work !== undefined) rmSync(work, { recursive: true, force: true });
});

function run(args: readonly string[], env: NodeJS.ProcessEnv = {}): Running {
  const running = new Running(join(directory, "cli.js"), args, env);
  started.push(running);
  return running;
}

describe("napcat-vlm", () => {
  it("prints its help and its version", async () => {
    expect(await run(["--version"]).ended()).toMatchObject({
      code: 0,
      output: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    });
    const help = await run(["--help"]).ended();
    expect(help.code).toBe(0);
    expect(help.output).toMatch(/napcat-vlm start .*\n(.*\n)*.*convert DIR/);
    const ofOne = await run(["pull", "--help"]).ended();
    expect(ofOne.output).toMatch(/napcat-vlm pull NAME[\s\S]*--hub/);
    expect(ofOne.output).not.toContain("--port");
  });

  it("says before a model is loaded that this machine does not have an address", async () => {
    const { code, output } = await run(["start", "--host", "203.0.113.7", "--port", "0"]).ended();
    expect(code).toBe(1);
    expect(output).toMatch(
      /这台机器没有这个地址 · this machine has no such address: .*EADDRNOTAVAIL/,
    );
    expect(output).not.toContain("加载模型");
  });

  it.each([
    [[], {}, "Name a command"],
    [["start", "--prot", "1"], {}, "Unknown option '--prot'."],
    [["start"], { PORT: "99999" }, "PORT: expected a port from 0 to 65535, got `99999`."],
  ])("answers wrong usage %j %o with one line and code 2", async (args, env, message) => {
    const { code, output } = await run(args, env).ended();
    expect(code).toBe(2);
    expect(output).toContain(message);
    expect(output.trimEnd().split("\n")).toHaveLength(1);
  });

  it("answers a model that is not there with one line and code 1", async () => {
    const { code, output } = await run(["convert", join(work, "nothing")]).ended();
    expect(code).toBe(1);
    expect(output).toMatch(/^napcat-vlm: .*nothing.*\n$/);
  });

  it("survives a reader that goes away", async () => {
    const doctor = run(["doctor"]);
    doctor.process.stdout?.destroy();
    doctor.process.stderr?.destroy();
    expect((await doctor.ended()).signal).toBeNull();
  });

  it("converts, and says how far it is in plain lines", async () => {
    const out = join(work, "converted");
    const { code, output } = await run(["convert", join(work, "tiny-chat"), "--out", out]).ended();
    expect(code).toBe(0);
    expect(output).toMatch(/converting 100% ·[\s\S]*完成 done: /);
    expect(output).not.toContain("\u001b");
    expect(existsSync(join(out, "manifest.json"))).toBe(true);
  });

  it("diagnoses this machine, a model and a missing NapCat", async () => {
    const model = join(work, "tiny-chat");
    const good = await run(["doctor", "--lang", "en", "--model", model, "--port", "0"]).ended();
    expect(good.output).toMatch(
      /ok {4}Node\.js: [\s\S]*ok {4}ONNX Runtime: 1\.[\s\S]*ok {4}Model: tiny-chat[\s\S]*ready/,
    );
    expect(good.code).toBe(0);

    const args = [
      "doctor",
      "--lang=zh",
      "--model",
      join(work, "nothing"),
      "--napcat=ws://127.0.0.1:1",
    ];
    const bad = await run(args, { NAPCAT_TOKEN: "hush-hush" }).ended();
    expect(bad.output).toMatch(
      /fail {2}模型: [\s\S]*fail {2}NapCat: 127\.0\.0\.1:1 \(unreachable\)/,
    );
    expect(bad.output).not.toContain("hush-hush");
    expect(bad.code).toBe(1);
  });

  it("goes on with its diagnosis when a native library ends its process", async () => {
    const crash = join(work, "crash.cjs");
    writeFileSync(
      crash,
      `if (process.argv[2] === "runtime") process.kill(process.pid, "SIGSEGV");`,
    );
    const args = ["doctor", "--lang=en", "--json", "--port=0", "--model", join(work, "tiny-chat")];
    const { code, output } = await run(args, {
      NODE_OPTIONS: `--require ${JSON.stringify(crash)}`,
    }).ended();
    expect(code).toBe(1);
    const { ready, findings } = JSON.parse(output);
    expect(ready).toBe(false);
    const verdicts = findings.map(({ what, verdict }: Record<string, string>) => [what, verdict]);
    expect(Object.fromEntries(verdicts)).toMatchObject({
      "Node.js": "ok",
      "ONNX Runtime": "fail",
      Model: "ok",
      "Debug page": "ok",
    });
  });
});

async function post(url: string, path: string, body: unknown): Promise<unknown> {
  const response = await fetch(`${url}${path}`, { method: "POST", body: JSON.stringify(body) });
  return response.json();
}

/** Starts a bot and resolves with the address of its debug page. */
async function startBot(args: readonly string[] = [], env: NodeJS.ProcessEnv = {}) {
  const model = join(work, "tiny-chat");
  const bot = run(["start", "--model", model, "--port", "0", ...args], env);
  const [, url = ""] = await bot.printed(/page +(http:\S+)\n/);
  return { bot, url };
}

describe("napcat-vlm start", () => {
  it("converts at the first start, answers about a picture, and ends with code 0", async () => {
    const { bot, url } = await startBot();
    expect(await (await fetch(`${url}/health`)).json()).toEqual({
      status: "healthy",
      model_loaded: true,
      processor_loaded: true,
      device: "cpu",
    });
    const circle = await drawShapes([{ shape: "circle", color: "red" }]);
    const message = {
      type: "group",
      group_id: "1",
      user_id: "2",
      user_nickname: "张三",
      content: "图里有什么？",
      images: [{ data: circle.toString("base64"), format: "png" }],
    };
    expect(await post(url, "/api/chat/group", message)).toEqual({
      status: "success",
      should_reply: true,
      reply: expect.stringContaining("红色的圆形"),
    });
    expect(await (await fetch(url)).text()).toContain("<title>napcat-vlm</title>");
    bot.process.kill("SIGTERM");
    const { code, output } = await bot.ended();
    expect(code).toBe(0);
    expect(output).not.toContain("图里有什么");

    const again = await startBot();
    expect(again.bot.output).not.toContain("converting");
  });

  it("answers on QQ: a mention with a picture behind a link, then a question about it", async () => {
    const square = await drawShapes([{ shape: "square", color: "green" }]);
    const pictures = await startPictureServer({ "/square": square });
    const napcat = await startNapCatServer({ token: "hush-hush", heartbeatMs: 30_000 });
    const flags = ["--napcat", napcat.url, "--image-hosts", pictures.host];
    const { bot } = await startBot(flags, { NAPCAT_TOKEN: "hush-hush" });
    await bot.printed(/connected, QQ \d+/);

    const image = { type: "image", data: { file: "A.png", url: pictures.url("/square") } };
    const question = groupMessage({ mentionsBot: true, text: "图里有什么？" });
    napcat.push({ ...question, message: [...(question.message as object[]), image] });
    const [first] = await napcat.received("send_group_msg");
    expect(JSON.stringify(first?.params.message)).toContain("一个绿色的正方形");
    expect(pictures.requests).toEqual(["/square"]);
    napcat.push(groupMessage({ mentionsBot: true, text: "它是什么颜色？" }));
    const [, second] = await napcat.received("send_group_msg", 2);
    expect(JSON.stringify(second?.params.message)).toContain("绿色。");

    bot.process.kill("SIGINT");
    const { code, output } = await bot.ended();
    expect(code).toBe(0);
    expect(output).not.toContain("hush-hush");
    await Promise.all([napcat.close(), pictures.close()]);
  });

  it("reads its settings file again when it has changed, and keeps the old settings when it is wrong", async () => {
    const napcat = await startNapCatServer({ token: "hush-hush", heartbeatMs: 30_000 });
    const file = join(work, "bot.jsonc");
    const write = (bot: object, more = "") =>
      writeFileSync(
        file,
        `// mine\n{ "napcat": { "url": "${napcat.url}", "token": "hush-hush" }, "bot": ${JSON.stringify({ admins: ["41"], reply: { gapMs: 0, jitterMs: 0 }, merge: { windowMs: 0 }, ...bot })}, ${more} }`,
      );
    write({ commands: { prefix: "#" } });
    const { bot } = await startBot(["--config", file]);
    await bot.printed(/connected, QQ \d+/);
    const say = (text: string) => napcat.push(groupMessage({ userId: 41, text }));
    const sent = async (count: number) =>
      JSON.stringify((await napcat.received("send_group_msg", count)).at(-1)?.params.message);

    say("#status");
    expect(await sent(1)).toContain("这里：正常");
    write({ commands: { prefix: "!" } }, '"vlm": { "maxQueue": 3 },');
    await bot.printed(/"needsRestart":"vlm.maxQueue".*some need a restart/);
    say("!help");
    expect(await sent(2)).toContain("!help");

    write({ commands: { prefix: 5 }, x: 1 });
    await bot.printed(/bot\.commands\.prefix.*bot\.x.*the old ones stay/);
    say("!reload");
    expect(await sent(3)).toContain("仍按原来的设置运行");
    rmSync(file);
    write({ commands: { prefix: "#" } });
    await bot.printed(/"changed":true.*read again/);
    say("#reload");
    expect(await sent(4)).toContain("设置已重新读取");
    bot.process.kill("SIGTERM");
    const { code, output } = await bot.ended();
    expect(code).toBe(0);
    expect(output).not.toContain("hush-hush");
    await napcat.close();
  });

  it("asks a model elsewhere, and the next one where that is down; a key goes to one server only", async () => {
    const server = await new ChatServer(says("别处的", "回答。")).listen();
    // A port that no system gives to whoever asks for any.
    const gone = "http://127.0.0.1:2/v1";
    const running = run(
      [
        "start",
        "--model",
        `openai:${gone}#eyes`,
        "--fallback",
        `openai:${server.baseURL}#eyes`,
        "--port",
        "0",
      ],
      { OPENAI_API_KEY: "sk-CANARY" },
    );
    const [, url] = await running.printed(/page +(http:\S+)/);
    const response = await fetch(`${url}/api/chat/private`, {
      method: "POST",
      body: JSON.stringify({
        type: "private",
        user_id: "1",
        user_nickname: "张三",
        content: "在吗？",
        timestamp: Date.now() / 1000,
      }),
    });
    expect(await response.json()).toMatchObject({ status: "success", reply: "别处的回答。" });
    expect(server.asked[0]?.headers).not.toHaveProperty("authorization");
    running.process.kill("SIGTERM");
    const { code, output } = await running.ended();
    expect(code).toBe(0);
    expect(output).toMatch(/eyes · 127\.0\.0\.1:\d+ · 还连不上 not up yet/);
    expect(output).toMatch(/→ eyes .*cannot be reached \(ECONNREFUSED\)/);
    expect(output).not.toContain("CANARY");
    await server.close();
  });

  it.each([
    ["foo", /foo is not a directory/],
    ["Nobody/Nothing", /napcat-vlm pull Nobody\/Nothing/],
    ["openai:ftp://x", /Expected a model elsewhere to look like/],
    ["docs", /docs.*config\.json/],
  ])("refuses the fallback %s before the first model is loaded", async (wrong, words) => {
    const running = run(["start", "--fallback", wrong, "--port", "0"], {
      NAPCAT_VLM_MODELS: join(work, "models"),
    });
    const { code, output } = await running.ended();
    expect(code).toBeGreaterThan(0);
    expect(output).toMatch(words);
    expect(output).not.toMatch(/加载模型|模型 +model/);
  });

  it("makes up a token when others can reach it, and keeps one that was set to itself", async () => {
    const open = await startBot(["--host", "0.0.0.0"]);
    const { port, searchParams } = new URL(open.url);
    const token = searchParams.get("token");
    expect((await fetch(`http://127.0.0.1:${port}/health`)).status).toBe(401);
    const headers = { Authorization: `Bearer ${token}` };
    expect((await fetch(`http://127.0.0.1:${port}/health`, { headers })).status).toBe(200);

    const secret = "0123456789abcdef0123";
    const set = await startBot(["--host", "0.0.0.0"], { DEBUG_TOKEN: secret });
    expect(set.bot.output).not.toContain(secret);
  });

  it("says that its port is taken before it loads anything", async () => {
    const { url } = await startBot();
    const second = run(["start", "--model", join(work, "tiny-chat"), "--port", new URL(url).port]);
    const { code, output } = await second.ended();
    expect(code).toBe(1);
    expect(output).toContain("the port is taken");
    expect(output).not.toContain("loading");
  });
});

describe("Ctrl-C", () => {
  it.each([
    ["while converting", /converting 0%/, true],
    ["while loading", /loading/, false],
    ["when ready", /Ctrl-C/, false],
  ])("ends a start with code 0 %s", async (_when, pattern, convert) => {
    const model = join(work, "tiny-chat");
    if (convert) rmSync(join(model, "onnx"), { recursive: true, force: true });
    const bot = run(["start", "--model", model, "--port", "0"]);
    await bot.printed(pattern);
    bot.process.kill("SIGINT");
    expect((await bot.ended()).code).toBe(0);
  });

  it("ends a start with code 0 in the middle of an answer, and tells the client", async () => {
    const { bot, url } = await startBot();
    const circle = await drawShapes([{ shape: "circle", color: "red" }]);
    const images = [{ data: circle.toString("base64") }];
    const answers = Array.from({ length: 4 }, (_, index) =>
      post(url, "/api/chat/private", { user_id: index, content: "图里有什么？", images }),
    );
    const first = await Promise.race(answers);
    expect(first).toMatchObject({ status: "success" });
    bot.process.kill("SIGINT");
    expect((await bot.ended()).code).toBe(0);
    for (const answer of await Promise.allSettled(answers)) {
      // Whatever was not answered by then was refused in words, or the connection was gone already.
      const { status } =
        answer.status === "fulfilled" ? (answer.value as { status: string }) : { status: "error" };
      expect(["success", "error"]).toContain(status);
    }
  });

  it("ends a conversion with code 0 and leaves nothing behind", async () => {
    const out = join(work, "interrupted", "package");
    const converting = run(["convert", join(work, "tiny-chat"), "--out", out]);
    await converting.printed(/converting 0%/);
    // npm passes on what the terminal has sent already; the two count as one.
    converting.process.kill("SIGINT");
    converting.process.kill("SIGINT");
    expect((await converting.ended()).code).toBe(0);
    // On a machine so slow that the signals came after the end, the package is whole.
    const parent = join(work, "interrupted");
    if (existsSync(parent)) expect(readdirSync(parent)).toEqual(["package"]);
    if (existsSync(out)) readFileSync(join(out, "manifest.json"));
  });
});
