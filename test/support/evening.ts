// An evening in QQ for a bot in a process of its own: groups, people, pictures, what they say, and what the bot says.
// In: what happens. Out: what was answered where. The bot is the command `start` with its defaults; the socket is real.

import { BOT_ID } from "../../src/bot/testing.ts";
import { drawShapes } from "./draw.ts";
import { type NapCatRequest, type NapCatServer, startNapCatServer } from "./napcat-server.ts";
import { type PictureServer, startPictureServer } from "./picture-server.ts";
import { Running } from "./running.ts";

export interface EveningSegment {
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface SaidMessage {
  readonly message_id: number;
  readonly user_id: number;
  readonly group_id?: number;
  readonly message: readonly EveningSegment[];
}

/** Where something is said: the number of a group, or of a friend. */
export type Place = { readonly group: number } | { readonly friend: number };

/** Pictures everybody has at hand. */
const PICTURES = {
  redCircle: { shape: "circle", color: "red" },
  blueSquare: { shape: "square", color: "blue" },
  greenTriangle: { shape: "triangle", color: "green" },
  yellowStar: { shape: "star", color: "yellow" },
} as const;
export type PictureName = keyof typeof PICTURES;

export const at = (id: number | string = String(BOT_ID)): EveningSegment => ({
  type: "at",
  data: { qq: id },
});
export const text = (words: string): EveningSegment => ({ type: "text", data: { text: words } });
export const quote = (id: number | string): EveningSegment => ({ type: "reply", data: { id } });
export const forward = (id: string): EveningSegment => ({ type: "forward", data: { id } });

const NAMES = ["小明", "小红", "李四", "张三", "Alice"];

const now = () => Math.floor(Date.now() / 1000);

/** One evening. */
export class Evening {
  readonly napcat: NapCatServer;
  readonly pictures: PictureServer;
  readonly bot: Running;
  /** Every message anybody wrote, by id. */
  readonly said = new Map<number, SaidMessage>();
  readonly #withheld: Set<() => void>;
  #lastId = 1000;

  private constructor(
    napcat: NapCatServer,
    pictures: PictureServer,
    withheld: Set<() => void>,
    bot: Running,
  ) {
    this.napcat = napcat;
    this.pictures = pictures;
    this.bot = bot;
    this.#withheld = withheld;
    napcat
      .answer("get_msg", ({ message_id: id }) => {
        const found = this.said.get(Number(id));
        if (found === undefined) throw "消息不存在";
        return found;
      })
      .answer("get_group_member_info", ({ group_id, user_id }) => ({
        group_id,
        user_id,
        nickname: "看图猫",
        card: "",
        role: "member",
        shut_up_timestamp: 0,
      }))
      .answer("set_msg_emoji_like", () => ({ result: 0 }))
      .answer("set_input_status", () => ({ result: 0 }));
  }

  /** Starts the command, with a NapCat and a web server for pictures. */
  static async begin(
    script: string,
    args: readonly string[] = [],
    env: NodeJS.ProcessEnv = {},
  ): Promise<Evening> {
    const drawn = await Promise.all(
      Object.entries(PICTURES).map(
        async ([name, shape]) => [`/${name}`, await drawShapes([shape])] as const,
      ),
    );
    const files = Object.fromEntries(drawn);
    const withheld = new Set<() => void>();
    const slow = drawn.map(
      ([path, bytes]) =>
        [
          `/slow${path}`,
          (_request: unknown, response: { end(data: Uint8Array): unknown }) => {
            withheld.add(() => void response.end(bytes));
          },
        ] as const,
    );
    const pictures = await startPictureServer({ ...files, ...Object.fromEntries(slow) });
    const token = env.NAPCAT_TOKEN;
    const napcat = await startNapCatServer({ heartbeatMs: 5000, ...(token && { token }) });
    const flags = ["--napcat", napcat.url, "--image-hosts", pictures.host, "--port", "0"];
    const bot = new Running(script, ["start", ...flags, ...args], env);
    const evening = new Evening(napcat, pictures, withheld, bot);
    await bot.printed(/connected, QQ \d+/u);
    return evening;
  }

  /** A picture behind a link. */
  picture(name: PictureName): EveningSegment {
    return this.#picture(`/${name}`);
  }

  /** A picture whose server keeps everybody waiting until {@link release}. */
  slowPicture(name: PictureName): EveningSegment {
    return this.#picture(`/slow/${name}`);
  }

  #picture(path: string): EveningSegment {
    const file = `${path.replaceAll("/", "_")}.png`;
    return { type: "image", data: { file, url: this.pictures.url(path), sub_type: 0 } };
  }

  /** Serves every picture that was kept back. */
  release(): void {
    for (const serve of this.#withheld) serve();
    this.#withheld.clear();
  }

  /** Resolves when the bot has asked for this slow picture. */
  asked(name: PictureName): Promise<void> {
    return waitFor(() => this.pictures.requests.includes(`/slow/${name}`));
  }

  /** A message as NapCat reports it, not yet sent. */
  write(place: Place, user: number, ...message: EveningSegment[]): SaidMessage {
    const id = ++this.#lastId;
    const inGroup = "group" in place;
    const written = {
      time: now(),
      self_id: BOT_ID,
      post_type: "message",
      message_type: inGroup ? "group" : "private",
      sub_type: inGroup ? "normal" : "friend",
      message_id: id,
      real_id: id,
      message_seq: id,
      user_id: user,
      ...(inGroup ? { group_id: place.group } : { target_id: user }),
      message,
      raw_message: "",
      message_format: "array",
      font: 14,
      sender: { user_id: user, nickname: NAMES[user % NAMES.length], card: "", role: "member" },
    };
    this.said.set(id, written);
    return written;
  }

  say(place: Place, user: number, ...message: EveningSegment[]): SaidMessage {
    const written = this.write(place, user, ...message);
    this.napcat.push(written);
    return written;
  }

  takeBack({ group_id, user_id, message_id }: SaidMessage): void {
    const inGroup = group_id === undefined ? {} : { group_id, operator_id: user_id };
    const notice_type = group_id === undefined ? "friend_recall" : "group_recall";
    this.#notice({ notice_type, user_id, message_id, ...inGroup });
  }

  mute(group: number, seconds: number, user = BOT_ID): void {
    const sub_type = seconds === 0 ? "lift_ban" : "ban";
    const fields = { group_id: group, operator_id: 9, user_id: user, duration: seconds };
    this.#notice({ notice_type: "group_ban", sub_type, ...fields });
  }

  #notice(fields: object): void {
    this.napcat.push({ time: now(), self_id: BOT_ID, post_type: "notice", ...fields });
  }

  /** What the bot said here, oldest first. */
  answers(place: Place): readonly string[] {
    return this.sends(place).map(textOf);
  }

  sends(place: Place): readonly NapCatRequest[] {
    const [key, id] =
      "group" in place
        ? (["group_id", place.group] as const)
        : (["user_id", place.friend] as const);
    const action = "group" in place ? "send_group_msg" : "send_private_msg";
    return this.napcat.requests.filter(
      (request) => request.action === action && String(request.params[key]) === String(id),
    );
  }

  /** Resolves with all that the bot said here as soon as there are so many messages of it. */
  async answered(place: Place, count = 1): Promise<readonly string[]> {
    await this.napcat.until(() => this.answers(place).length >= count);
    return this.answers(place);
  }

  /** The bot loses its connection, comes back, and QQ replays what was said. */
  async reconnect(replayed: readonly SaidMessage[]): Promise<void> {
    const connections = this.napcat.tokens.length;
    const logins = this.#logins;
    this.napcat.dropClients();
    await this.napcat.until(() => this.napcat.tokens.length > connections && this.#logins > logins);
    await this.bot.printed(/(?:connected, QQ \d+[\s\S]*){2}/u);
    for (const message of replayed) this.napcat.push(message);
  }

  get #logins(): number {
    return this.napcat.requests.filter(({ action }) => action === "get_login_info").length;
  }

  async end(): Promise<{ code: number | null; output: string }> {
    this.bot.process.kill("SIGTERM");
    const ended = await this.bot.ended();
    await Promise.all([this.napcat.close(), this.pictures.close()]);
    return ended;
  }
}

/** Polls: for what no event tells. */
async function waitFor(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 20));
}

function textOf({ params }: NapCatRequest): string {
  return (params.message as readonly EveningSegment[])
    .map(({ type, data }) => (type === "text" ? data.text : ""))
    .join("");
}

/** The message a message of the bot quotes. */
export function quotedBy({ params }: NapCatRequest): string | undefined {
  const found = (params.message as readonly EveningSegment[]).find(({ type }) => type === "reply");
  return found === undefined ? undefined : String(found.data.id);
}
