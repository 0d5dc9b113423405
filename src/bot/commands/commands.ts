// Which command a message is, if it is one. In: a message. Out: the command and what was typed behind its name.
// It knows nothing of what commands do.

import type { IncomingMessage } from "../napcat/events.ts";
import type { Command } from "./command.ts";

/** A command somebody typed. */
export interface FoundCommand {
  readonly command: Command;
  readonly argument: string;
}

/** The commands of a bot. */
export class Commands {
  readonly #prefix: string;
  readonly #byName = new Map<string, Command>();

  /** @param prefix what stands in front of every name, such as `/` */
  constructor(prefix: string, commands: readonly Command[]) {
    this.#prefix = prefix;
    for (const command of commands) this.register(command);
  }

  /** Adds a command; its names replace those of earlier ones. */
  register(command: Command): void {
    for (const name of command.names) this.#byName.set(name.toLowerCase(), command);
  }

  /** Only text counts, and a mention of the bot in front of it. */
  find(message: IncomingMessage): FoundCommand | undefined {
    if (this.#byName.size === 0) return undefined;
    const said = message.segments.filter(
      (segment) => !(segment.type === "at" && segment.target === message.selfId),
    );
    const [first] = said;
    if (said.length !== 1 || first?.type !== "text") return undefined;
    const text = first.text.trim();
    if (!text.startsWith(this.#prefix)) return undefined;
    const [, name = "", argument = ""] =
      /^(\S+)\s*([\s\S]*)$/u.exec(text.slice(this.#prefix.length)) ?? [];
    const command = this.#byName.get(name.toLowerCase());
    return command === undefined ? undefined : { command, argument };
  }
}
