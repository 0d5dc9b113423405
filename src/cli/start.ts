// `napcat-vlm start`: a model, the debug page, and NapCat if there is one. In: settings. Out: a bot, until Ctrl-C.

import { randomBytes } from "node:crypto";
import { networkInterfaces } from "node:os";
import type { BotChanges } from "../bot/bot-changes.ts";
import { type DebugServer, isLoopback, startDebugServer } from "../bot/debug-http/server.ts";
import { type InstalledVlm, installVlm } from "../bot/install-vlm.ts";
import type { Logger } from "../bot/logger.ts";
import { type ConnectionState, connectNapCat } from "../bot/napcat/connection.ts";
import type { InstallVlmOptions } from "../bot/options.ts";
import { DEFAULT_PHRASES } from "../bot/reply/phrases.ts";
import { type ChatStore, openChatStore } from "../bot/store/chat-store.ts";
import { packageVersion } from "../package-root.ts";
import type { VisionLanguageModel } from "../vlm/index.ts";
import { SettingsReload } from "./config/settings-reload.ts";
import { watchFile } from "./config/watch-file.ts";
import { describeForLog } from "./errors.ts";
import { createLog, DEFAULT_LEVEL } from "./log.ts";
import { LoneBot } from "./lone-bot.ts";
import { openModel } from "./open-model.ts";
import { refuseTakenPort } from "./port.ts";
import type { Settings } from "./settings.ts";
import { untilShutdown } from "./shutdown.ts";
import { complain, print } from "./terminal.ts";

type Ending = () => Promise<void>;

/** Worth a line of its own; the connection itself warns of trouble. */
const STATES: Partial<Record<ConnectionState, (selfId: string) => string>> = {
  ready: (selfId) => `已连接 connected, QQ ${selfId}`,
  offline: (selfId) => `QQ ${selfId} 已离线，请在 NapCat 重新登录 · is logged out, log in again`,
};

/**
 * Resolves when the signal aborts and everything has ended; rejects when something cannot start.
 *
 * @param read gives the settings again, as they are now
 */
export async function start(
  settings: Settings,
  signal: AbortSignal,
  read: () => Settings,
): Promise<void> {
  const endings: Ending[] = [];
  const log = createLog(settings.sections.log);
  try {
    print(`napcat-vlm ${packageVersion()}`);
    if (settings.file !== undefined) print(`配置   config  ${settings.file}`);
    await refuseTakenPort(settings.host, settings.port);

    const model = await openModel(settings, signal);
    endings.push(() => model.dispose());
    const store =
      settings.data === undefined ? undefined : await openChats(settings.data, settings, log);
    if (store !== undefined) endings.push(() => store.close());
    const parts = { model, store, logger: log };
    const reload = new SettingsReload({
      settings,
      read,
      apply: (changed) => {
        const late = bot.reconfigure(botOptions(changed, reload));
        log.level = changed.sections.log.level ?? DEFAULT_LEVEL;
        return late;
      },
      logger: log,
    });
    const options = botOptions(settings, reload);
    // One history, whichever way somebody talks to the bot.
    const bot =
      settings.napcat === undefined
        ? new LoneBot(parts, options)
        : joinQq(settings.napcat, settings, { ...parts, ...options }, endings);
    const server = await openDebugPage(settings, bot, model);
    endings.push(() => server.close());
    if (settings.file !== undefined) watchSettings(settings.file, reload, log, endings);
    print("Ctrl-C 退出 · to stop");

    await untilShutdown(signal);
  } finally {
    for (const end of endings.reverse()) {
      await end().catch((error) => complain(describeForLog(error)));
    }
  }
}

async function openChats(
  directory: string,
  { sections }: Settings,
  logger: Logger,
): Promise<ChatStore> {
  const store = await openChatStore({ ...sections.store, directory, logger });
  if (store.writing) print(`聊天   chats   ${directory}`);
  return store;
}

/** The options of the bot: whoever names hosts of pictures means them, on a private network too. */
function botOptions(
  { file, sections: { bot }, imageHosts }: Settings,
  reload: SettingsReload,
): BotChanges {
  const refusal = bot.phrases?.reloadRefused ?? DEFAULT_PHRASES.reloadRefused;
  const onReload = () => (reload.reload() === "refused" ? refusal : undefined);
  const commands = { ...bot.commands, ...(file === undefined ? {} : { onReload }) };
  if (imageHosts.length === 0) return { ...bot, commands };
  const images = { extraHosts: [...imageHosts], allowPrivateAddresses: true };
  return { ...bot, commands, images: { ...bot.images, ...images } };
}

/** What changes in the file holds from the next message on. */
function watchSettings(file: string, reload: SettingsReload, log: Logger, endings: Ending[]): void {
  const watch = watchFile(
    file,
    () => void reload.reloadIfChanged(),
    () => log.warn("The settings file cannot be watched; /reload reads it again."),
  );
  endings.push(async () => watch.close());
}

/** Connects in the background: NapCat may be started later, or again. */
function joinQq(
  napcat: NonNullable<Settings["napcat"]>,
  settings: Settings,
  options: InstallVlmOptions & { readonly logger: Logger },
  endings: Ending[],
): InstalledVlm {
  const { url, token } = napcat;
  const { host } = new URL(url);
  const connection = connectNapCat({
    ...settings.sections.napcat,
    url,
    logger: options.logger,
    ...(token === undefined ? {} : { token }),
  });
  endings.push(() => connection.close());
  connection.onState((state) => {
    const said = STATES[state];
    if (said !== undefined)
      print(`NapCat         ${host} · ${said(connection.login?.selfId ?? "?")}`);
  });
  const bot = installVlm(connection, options);
  endings.push(() => bot.close());
  print(`NapCat         ${host} · 连接中 connecting`);
  return bot;
}

async function openDebugPage(
  settings: Settings,
  bot: InstalledVlm | LoneBot,
  model: VisionLanguageModel,
): Promise<DebugServer> {
  const { host, port, debugToken, sections } = settings;
  const madeUp = debugToken === undefined && !isLoopback(host);
  const token = madeUp ? randomBytes(18).toString("base64url") : debugToken;
  const server = await startDebugServer({
    ...sections.debugHttp,
    responder: bot.responder,
    host,
    port,
    ...(token === undefined ? {} : { token }),
    model,
    shouldReply: bot.shouldReply,
    ...("watched" in bot ? { watched: bot.watched } : {}),
    onError: (error) => complain(describeForLog(error)),
  });
  // A token that somebody set is a secret; one that was made up is known nowhere else.
  const query = token === undefined ? "" : `/?token=${madeUp ? token : "<DEBUG_TOKEN>"}`;
  print(`调试页 page    ${reachable(server.url)}${query}`);
  return server;
}

/** An address that works in a browser elsewhere, for a server that listens on all of them. */
function reachable(url: string): string {
  const { hostname } = new URL(url);
  if (hostname !== "0.0.0.0" && hostname !== "[::]") return url;
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const outside = addresses.find(({ internal, family }) => !internal && family === "IPv4");
  return url.replace(hostname, outside?.address ?? "localhost");
}
