// What the report says of a model that another program made, or that runs elsewhere.

import { rm } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { checkModel } from "../../../src/cli/doctor/check-model.ts";
import { resolveSettings } from "../../../src/cli/settings.ts";
import { ChatServer } from "../../support/chat-server.ts";
import { communityPackage } from "../../support/community-package.ts";
import { mobiusPackage } from "../../support/mobius-package.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { TINY_CHAT_DIR } from "../../support/tiny-chat.ts";

let parent: string;
beforeAll(async () => {
  parent = await tempDir();
});

const check = (model: string) =>
  checkModel({ settings: resolveSettings({ model }, {}), signal: new AbortController().signal });

it("finds a whole one good", async () => {
  const { verdict, found, advice } = await check(await mobiusPackage("tiny-chat", parent));
  expect([verdict, advice]).toEqual(["ok", undefined]);
  expect(found).toMatchObject({
    en: expect.stringMatching(/^mobius-tiny-chat, mobius, fp32, [\d.]+ MB, .*; has DeepStack$/),
    zh: expect.stringContaining("含 DeepStack"),
  });
});

it("warns of one without DeepStack", async () => {
  const { verdict, found, advice } = await check(await communityPackage(TINY_CHAT_DIR, parent));
  expect(verdict).toBe("warn");
  expect(found).toMatchObject({
    en: expect.stringMatching(/^community, onnx-community, fp32, .*; DeepStack is missing$/),
    zh: expect.stringContaining("缺少 DeepStack"),
  });
  expect(advice).toMatchObject({ en: expect.stringContaining("safetensors checkpoint") });
});

it("finds one with a part missing bad, and names the part", async () => {
  const directory = await mobiusPackage("tiny-tied", parent);
  await rm(join(directory, "embedding"), { recursive: true });
  const { verdict, advice } = await check(directory);
  expect(verdict).toBe("fail");
  expect(JSON.stringify(advice)).toContain("embedding/model.onnx");
});

it("asks a server elsewhere whether it has the model", async () => {
  const server = await new ChatServer([]).listen();
  const { baseURL } = server;
  try {
    expect(await check(`openai:${baseURL}#eyes`)).toMatchObject({
      verdict: "ok",
      found: expect.stringMatching(/^eyes, /),
    });
    expect(await check(`openai:${baseURL}#ears`)).toMatchObject({
      verdict: "warn",
      advice: { en: "The server does not list this name. It lists: eyes" },
    });
  } finally {
    await server.close();
  }
  const { verdict, advice } = await check(`openai:${baseURL}#eyes`);
  expect(verdict).toBe("fail");
  expect(advice).toBeDefined();
});
