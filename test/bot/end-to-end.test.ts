import { NCWebsocket } from "node-napcat-ts";
import { afterEach, describe, expect, it } from "vitest";
import { connectNapCat, installVlm } from "../../src/bot/index.ts";
import type { GenerateRequest } from "../../src/vlm/index.ts";
import { FakeVisionLanguageModel } from "../../src/vlm/testing.ts";
import { PIXEL_PNG, readEvent } from "../support/events.ts";
import { startNapCatServer } from "../support/napcat-server.ts";
import { startPictureServer } from "../support/picture-server.ts";
import { RecordingLogger } from "../support/recording-logger.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Everything real but QQ and the model: sockets, node-napcat-ts, HTTP for pictures. */
async function setUp() {
  const server = await startNapCatServer({ token: "t" });
  const pictures = await startPictureServer({ "/cat": PIXEL_PNG });
  cleanups.push(
    () => server.close(),
    () => pictures.close(),
  );
  const model = new FakeVisionLanguageModel({ answer: "一只猫。" });
  const options = {
    model,
    logger: new RecordingLogger(),
    maxMessageAgeMs: Infinity,
    merge: { windowMs: 0 },
    images: { extraHosts: [pictures.host], allowPrivateAddresses: true },
  };
  const withPicture = (fixture: string) => {
    const image = { type: "image", data: { file: "A.png", url: pictures.url("/cat") } };
    const event = readEvent(fixture);
    // The fixture's own pictures lie on the internet.
    const rest = (event.message as { type: string }[]).filter(({ type }) => type !== "image");
    return { ...event, message: [...rest, image] };
  };
  return { server, model, options, withPicture };
}

/** A connection as a host makes it without our supervisor. */
async function plainWebsocket(url: string): Promise<NCWebsocket> {
  const napcat = new NCWebsocket({
    baseUrl: url,
    accessToken: "t",
    reconnection: { enable: false },
  });
  await napcat.connect();
  cleanups.push(() => napcat.disconnect());
  return napcat;
}

describe("the bot on a real connection", () => {
  it("answers over a plain NCWebsocket", async () => {
    const { server, model, options, withPicture } = await setUp();
    const bot = installVlm(await plainWebsocket(server.url), options);
    cleanups.push(() => bot.close());
    server.push(withPicture("group_no_role_sender"));
    const [request] = await server.received("send_group_msg");
    expect(request?.params).toEqual({
      group_id: 700000003,
      message: [
        { type: "reply", data: { id: String(readEvent("group_no_role_sender").message_id) } },
        { type: "text", data: { text: "一只猫。" } },
      ],
    });
    const content = model.requests[0]?.messages.at(-1)?.content;
    expect(content).toContainEqual({ type: "image", data: Buffer.from(PIXEL_PNG) });
  });

  it("answers over connectNapCat, also after an outage", async () => {
    const { server, options, withPicture } = await setUp();
    const napcat = connectNapCat({
      url: server.url,
      token: "t",
      minDelayMs: 5,
      logger: options.logger,
    });
    cleanups.push(() => napcat.close());
    const bot = installVlm(napcat, options);
    cleanups.push(() => bot.close());
    await napcat.ready();
    server.push(withPicture("private_friend_text"));
    await server.received("send_private_msg", 1);

    const lost = new Promise<void>((resolve) => {
      napcat.onState((state) => state === "waiting" && resolve());
    });
    server.dropClients();
    await lost;
    await napcat.ready();
    server.push(withPicture("private_temp_session"));
    const requests = await server.received("send_private_msg", 2);
    expect(requests[1]?.params).toMatchObject({ user_id: 1000000002 });
    expect(requests[1]?.params, "NapCat might send it into the group").not.toHaveProperty(
      "group_id",
    );
  });

  it("looks up what was quoted", async () => {
    const { server, model, options, withPicture } = await setUp();
    server.answer("get_msg", () => withPicture("group_quoted_target_image_message"));
    const bot = installVlm(await plainWebsocket(server.url), options);
    cleanups.push(() => bot.close());
    server.push(readEvent("group_reply_to_image_at_bot"));
    await server.received("send_group_msg");
    expect(server.requests[0]).toEqual({ action: "get_msg", params: { message_id: 1629673528 } });
    expect(model.requests[0]?.messages.at(-1)?.content).toEqual([
      { type: "text", text: "[引用小红的消息]\n" },
      { type: "image", data: Buffer.from(PIXEL_PNG) },
      { type: "text", text: "\n[引用结束]\n群名片·小明：这是什么" },
    ]);
  });

  it("does not take strings for messages, which node-napcat-ts has cut to pieces", async () => {
    const { server, model, options } = await setUp();
    const napcat = await plainWebsocket(server.url);
    const bot = installVlm(napcat, options);
    cleanups.push(() => bot.close());
    const seen = new Promise((resolve) => napcat.on("message", resolve));
    server.push(readEvent("group_message_string_format"));
    await seen;
    await bot.idle();
    expect(model.requests).toEqual([]);
    expect(options.logger.at("warn")).toEqual([expect.stringContaining("messagePostFormat")]);
  });

  it("does not let a rejecting send end the process or the bot", async () => {
    const { server, options } = await setUp();
    const bot = installVlm(await plainWebsocket(server.url), options);
    cleanups.push(() => bot.close());
    let refusals = 1;
    server.answer("send_private_msg", () => {
      if (refusals-- > 0) throw String(readEvent("api_send_failed_network_kicked").message);
      return { message_id: 1 };
    });
    server.push(readEvent("private_friend_text"));
    await server.received("send_private_msg", 1);
    await bot.idle();
    server.push({ ...readEvent("private_friend_text"), message_id: 2 });
    await server.received("send_private_msg", 2);
    await bot.idle();
    expect(options.logger.at("error")).toEqual(["A message could not be answered."]);
  });

  /** A bot on a connection that comes back by itself. */
  async function reconnecting(parts: Awaited<ReturnType<typeof setUp>>) {
    const { server, options } = parts;
    const napcat = connectNapCat({
      url: server.url,
      token: "t",
      minDelayMs: 5,
      maxDelayMs: 20,
      logger: options.logger,
    });
    cleanups.push(() => napcat.close());
    const bot = installVlm(napcat, options);
    cleanups.push(() => bot.close());
    await napcat.ready();
    return { napcat, bot };
  }

  it("asks again for what it was reading when the connection broke, and sends what it could not", async () => {
    const parts = await setUp();
    const { server, model } = parts;
    const { bot } = await reconnecting(parts);
    let lookUps = 0;
    server.answer("get_msg", () => {
      if (++lookUps > 1) return parts.withPicture("group_quoted_target_image_message");
      server.dropClients();
      return new Promise(() => {});
    });
    server.push(readEvent("group_reply_to_image_at_bot"));
    await server.received("send_group_msg");
    await bot.idle();
    expect(lookUps).toBe(2);
    expect(model.requests).toHaveLength(1);
    expect(JSON.stringify(model.requests[0]?.messages)).toContain("这是什么");
  });

  it("never sends again what was on its way when the connection broke", async () => {
    const parts = await setUp();
    const { server } = parts;
    const { napcat, bot } = await reconnecting(parts);
    server.answer("send_private_msg", () => {
      server.dropClients();
      return new Promise(() => {});
    });
    server.push(readEvent("private_friend_text"));
    await server.received("send_private_msg");
    await bot.idle();
    await napcat.ready();
    expect(server.requests.filter(({ action }) => action === "send_private_msg")).toHaveLength(1);
    expect(parts.options.logger.at("error")).toEqual(["A message could not be answered."]);
  });

  it("answers none of what is replayed after an outage, and a repeated frame once", async () => {
    const parts = await setUp();
    parts.options.maxMessageAgeMs = 60_000;
    const { server, model } = parts;
    const { napcat, bot } = await reconnecting(parts);
    server.dropClients();
    await new Promise<void>((resolve) => {
      const stop = napcat.onState((state) => {
        if (state !== "ready") return;
        stop();
        resolve();
      });
    });
    const stale = readEvent("group_stale_replayed");
    for (let index = 1; index <= 30; index++) server.push({ ...stale, message_id: index });
    const fresh = { ...readEvent("private_friend_text"), time: Math.floor(Date.now() / 1000) };
    server.push(fresh);
    server.push(fresh);
    await server.received("send_private_msg");
    await bot.idle();
    expect(model.requests).toHaveLength(1);
    expect(server.requests.filter(({ action }) => action.startsWith("send_"))).toHaveLength(1);
  });

  it("stays silent after a recall, a mute and a kick that come while it answers", async () => {
    const parts = await setUp();
    const { server, model } = parts;
    const { bot } = await reconnecting(parts);
    let asked = () => {};
    Object.assign(model, {
      stream: async function* (request: GenerateRequest) {
        asked();
        await new Promise((_, reject) =>
          request.signal?.addEventListener("abort", () => reject(request.signal?.reason)),
        );
      },
    });
    const ends = ["notice_group_recall", "notice_group_ban_bot", "notice_group_decrease_kick_me"];
    for (const [index, end] of ends.entries()) {
      const group_id = 700000003 + index;
      const answering = new Promise<void>((resolve) => {
        asked = resolve;
      });
      const event = readEvent("group_at_bot_text_image");
      const message = [
        { type: "at", data: { qq: "3000000001" } },
        { type: "text", data: { text: " 讲个故事" } },
      ];
      server.push({ ...event, group_id, message, message_id: 1629673528 });
      await answering;
      server.push({ ...readEvent(end), group_id });
      while (!(await idleSoon(bot)));
    }
    expect(server.requests.filter(({ action }) => action.startsWith("send_"))).toEqual([]);
  });
});

/** Has the bot nothing to do any more? */
async function idleSoon(bot: { idle(): Promise<void> }): Promise<boolean> {
  const pending = Symbol();
  const patience = new Promise((resolve) => setTimeout(resolve, 20, pending));
  return (await Promise.race([bot.idle(), patience])) !== pending;
}
