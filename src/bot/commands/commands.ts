// Which command a message is, if it is one, and who may use which. In: a message. Out: the command and what was typed
// behind its name. It knows nothing of what commands do.

import type { IncomingMessage } from "../napcat/events.ts";
import { type Rank, reaches } from "../rank.ts";
import type { Command } from "./command.ts";

/** A command somebody typed. */
export interface FoundCommand {
  readonly command: Command;
  readonly argument: string;
}

/** The commands of a bot. */
export class Commands {
  #prefix = "";
  #permissions: ReadonlyMap<string, Rank> = new Map();
  /** Those that came later, and replace others of the same name. */
  readonly #registered: Command[] = [];
  readonly #byName = new Map<string, Command>();

  /**
   * @param prefix what stands in front of every name, such as `/`
   * @param permissions by one of a command's names, who may use it
   */
  constructor(
    prefix: string,
    commands: readonly Command[],
    permissions: Readonly<Record<string, Rank>> = {},
  ) {
    this.replace(prefix, commands, permissions);
  }

  /** Other commands, prefix and permissions; what was registered stays. */
  replace(
    prefix: string,
    commands: readonly Command[],
    permissions: Readonly<Record<string, Rank>> = {},
  ): void {
    this.#prefix = prefix;
    this.#permissions = new Map(
      Object.entries(permissions).map(([name, rank]) => [name.toLowerCase(), rank]),
    );
    this.#byName.clear();
    for (const command of [...commands, ...this.#registered]) this.#add(command);
  }

  /** Adds a command; its names replace those of earlier ones. */
  register(command: Command): void {
    this.#registered.push(command);
    this.#add(command);
  }

  #add(command: Command): void {
    for (const name of command.names) this.#byName.set(name.toLowerCase(), command);
  }

  /** What somebody of this rank may use, in the order it was registered. */
  allowedFor(rank: Rank): readonly { readonly typed: string; readonly command: Command }[] {
    return [...new Set(this.#byName.values())]
      .filter((command) => reaches(rank, this.neededFor(command)))
      .map((command) => {
        const own = command.names.filter(
          (name) => this.#byName.get(name.toLowerCase()) === command,
        );
        const typed = own.slice(0, 2).map((name) => `${this.#prefix}${name}`);
        return { typed: typed.join(" "), command };
      });
  }

  /** Who may use a command. */
  neededFor(command: Command): Rank {
    const named = command.names
      .map((name) => this.#permissions.get(name.toLowerCase()))
      .find((rank) => rank !== undefined);
    return named ?? command.needs ?? "everybody";
  }

  /** Only text counts, and a mention of the bot in front of it. */
  find(message: IncomingMessage): FoundCommand | undefined {
    if (this.#byName.size === 0) return undefined;
    const said = message.segments.filter(
      (segment) => !(segment.type === "at" && segment.target === message.selfId),
    );
    // QQ puts a space behind a mention, which may be a text of its own.
    const [first, ...more] = said.filter(
      (segment) => segment.type !== "text" || segment.text.trim() !== "",
    );
    if (more.length > 0 || first?.type !== "text") return undefined;
    const text = first.text.trim();
    // Chinese keyboards write `／` for `/`.
    const start = text.slice(0, this.#prefix.length);
    if (start !== this.#prefix && start.normalize("NFKC") !== this.#prefix) return undefined;
    const [, name = "", argument = ""] =
      /^(\S+)\s*([\s\S]*)$/u.exec(text.slice(this.#prefix.length)) ?? [];
    const command = this.#byName.get(name.toLowerCase());
    return command === undefined ? undefined : { command, argument };
  }
}
