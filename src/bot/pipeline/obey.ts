// Beside the way of questions: a message in, the command it is and what it says out. Commands wait for nobody: neither for
// the model nor for a place in the queue. It knows nothing of what commands do.

import type { CommandTools } from "../commands/command.ts";
import type { Commands, FoundCommand } from "../commands/commands.ts";
import type { RateLimits } from "../gates/rate-limits.ts";
import type { IncomingMessage } from "../napcat/events.ts";
import { type Rank, rankOf, reaches } from "../rank.ts";

export interface ObeyOptions {
  readonly commands: Commands;
  readonly admins: readonly string[];
  readonly limits: Pick<RateLimits, "takeCommand">;
}

/** Runs commands. */
export class Obey {
  readonly #options: ObeyOptions;

  constructor(options: ObeyOptions) {
    this.#options = options;
  }

  rankOf(message: IncomingMessage): Rank {
    return rankOf(message, this.#options.admins);
  }

  find(message: IncomingMessage): FoundCommand | undefined {
    return this.#options.commands.find(message);
  }

  /**
   * Does what somebody typed, if they may, and returns what to say about it.
   *
   * @throws {unknown} what the command throws.
   */
  async run(
    { command, argument }: FoundCommand,
    message: IncomingMessage,
    tools: CommandTools,
  ): Promise<string | undefined> {
    const { commands, limits } = this.#options;
    if (!limits.takeCommand(message)) return undefined;
    const rank = this.rankOf(message);
    if (!reaches(rank, commands.neededFor(command))) return tools.phrases.commandDenied;
    tools.counts.command();
    const allowed = commands.allowedFor(rank);
    return command.run({ ...tools, message, argument, rank, allowed });
  }
}
