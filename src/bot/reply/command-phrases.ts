// What commands say, in one place: Chinese by default, each sentence replaceable. It knows nothing of when they are used.

import type { CountedTurns } from "../commands/turn-counts.ts";

export interface BotStatus {
  readonly answering: number;
  readonly waiting: number;
  /** `paused`: messages to this chat kept failing. `denied`: lists or a command say that it is not served. */
  readonly here: "open" | "muted" | "denied" | "paused";
}

/** A question and its answer, cut short. */
export interface RememberedTurn {
  readonly question: string;
  readonly answer: string;
}

/** Sentences people read in answer to commands. */
export interface CommandPhrases {
  readonly commandDenied: string;
  readonly helpTitle: string;
  /** By one of a command's names. */
  readonly commandSummaries: Readonly<Record<string, string>>;
  readonly resetDone: string;
  readonly stopped: string;
  readonly nothingToStop: string;
  readonly nothingToRetry: string;
  readonly undone: string;
  readonly nothingToUndo: string;
  readonly historyIs: (turns: readonly RememberedTurn[]) => string;
  readonly nothingRemembered: string;
  /** Stands for a picture in a list of questions. */
  readonly pictureHere: string;
  readonly forgotPerson: string;
  readonly forgotChat: string;
  readonly personaIs: (persona: string | undefined) => string;
  readonly personaSet: (own: boolean) => string;
  readonly personaTooLong: (maxCharacters: number) => string;
  readonly statsAre: (counted: CountedTurns) => string;
  readonly statusIs: (status: BotStatus) => string;
  readonly reloaded: string;
  /** The settings have mistakes; the log says which. */
  readonly reloadRefused: string;
  readonly nothingToReload: string;
  readonly allowedHere: string;
  readonly deniedHere: string;
  /** `Infinity`: until it is told. */
  readonly mutedHere: (durationMs: number) => string;
  readonly muteUnclear: string;
  readonly unmutedHere: string;
}

const HERE = {
  open: "正常",
  muted: "已让我闭嘴",
  denied: "未启用",
  paused: "消息发不出去，暂停中",
};

export const DEFAULT_COMMAND_PHRASES: CommandPhrases = {
  commandDenied: "这个命令你用不了。",
  helpTitle: "@我、引用我的话或者私聊就能提问，可以带图。命令：",
  commandSummaries: {
    help: "列出命令",
    reset: "开始新对话",
    stop: "停下正在写的回答（加“全部”：所有人的）",
    retry: "把上一个问题再答一次",
    undo: "撤销上一个问题和回答",
    history: "这里最近的问题和回答（可加个数，如“10”）",
    forget: "忘掉你问过的一切（加“全部”：整个会话）",
    persona: "查看或设置人设（“默认”恢复）",
    status: "现在在忙什么",
    stats: "启动以来的统计",
    mute: "让我闭嘴，可加时间，如“30分钟”",
    unmute: "让我继续说话",
    allow: "在这里启用",
    deny: "在这里停用",
    reload: "重新读取设置",
  },
  resetDone: "好的，我们重新开始。",
  stopped: "好的，不说了。",
  nothingToStop: "我现在没有在回答。",
  nothingToRetry: "我不记得你刚才问过什么。",
  undone: "好的，上一个问题和回答就当没有过。",
  nothingToUndo: "没有可以撤销的问题。",
  historyIs: (turns) =>
    // A question of a group begins with a name and a colon already.
    turns.map(({ question, answer }) => `${question}\n答：${answer}`).join("\n\n"),
  nothingRemembered: "这里还没有问过什么。",
  pictureHere: "［图片］",
  forgotPerson: "好的，你在这里问过的我都忘了。",
  forgotChat: "好的，这里说过的我都忘了。",
  personaIs: (persona) => (persona === undefined ? "现在是默认人设。" : `现在的人设：${persona}`),
  personaSet: (own) => (own ? "好的，从现在起就这样。" : "好的，恢复默认人设。"),
  personaTooLong: (maxCharacters) => `人设太长了，最多${maxCharacters}个字。`,
  statsAre: ({ forMs, answered, failed, cancelled, commands }) =>
    `已运行${duration(forMs)}：回答${answered}次，失败${failed}次，取消${cancelled}次，命令${commands}次。`,
  statusIs: ({ answering, waiting, here }) =>
    answering + waiting === 0
      ? `现在没有问题要回答。这里：${HERE[here]}。`
      : `正在回答${answering}个问题，${waiting}个在等。这里：${HERE[here]}。`,
  reloaded: "设置已重新读取。",
  reloadRefused: "设置文件有错误，仍按原来的设置运行。错误见日志。",
  nothingToReload: "没有可以重新读取的设置。",
  allowedHere: "好的，这里已启用。",
  deniedHere: "好的，这里已停用。",
  mutedHere: (durationMs) =>
    durationMs === Infinity ? "好的，我先不说话了。" : `好的，我安静${duration(durationMs)}。`,
  muteUnclear: "我没看懂时间，可以写“30分钟”或“2小时”。",
  unmutedHere: "好的，我可以说话了。",
};

function duration(ms: number): string {
  const minutes = Math.round(ms / 60_000);
  if (minutes < 1) return `${Math.round(ms / 1000)}秒`;
  if (minutes < 120) return `${minutes}分钟`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours}小时` : `${Math.round(hours / 24)}天`;
}
