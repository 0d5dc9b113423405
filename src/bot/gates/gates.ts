// All gates of a bot, in the order they are asked at each of the three places where they are. In: options. Out: gates.
// It knows nothing of the stages that ask them.

import type { ChatSwitches } from "../chat/chat-switches.ts";
import type { NapCatCalls } from "../napcat/calls.ts";
import type { IncomingMessage } from "../napcat/events.ts";
import type { Notice } from "../napcat/notices.ts";
import type { TemporarySessions } from "../napcat/temporary-sessions.ts";
import type { AskedGate, Gate } from "../pipeline/gate.ts";
import type { NoticeLimiter } from "../reply/notice-limiter.ts";
import type { PeoplePhrases } from "../reply/phrases.ts";
import { Access } from "./access.ts";
import { Arrivals } from "./arrivals.ts";
import { Breaker } from "./breaker.ts";
import type { ResolvedGateOptions } from "./gate-options.ts";
import { LoopGuard } from "./loop-guard.ts";
import { NobodyWrote } from "./nobody-wrote.ts";
import { OwnMutes } from "./own-mutes.ts";
import { RateLimits } from "./rate-limits.ts";
import { Recalled } from "./recalled.ts";
import { Robots } from "./robots.ts";
import { Silenced } from "./silenced.ts";
import { Standing } from "./standing.ts";

export interface GateParts {
  readonly options: ResolvedGateOptions & {
    readonly admins: readonly string[];
    readonly maxMessageAgeMs: number;
  };
  readonly switches: ChatSwitches;
  readonly calls: NapCatCalls;
  readonly sessions: TemporarySessions;
  readonly phrases: PeoplePhrases;
  readonly notices: NoticeLimiter;
  /** Told what QQ says about the bot in a group when it is asked. */
  readonly onStanding: (notice: Notice) => void;
}

/** The gates, and those among them that others tell something. */
export class Gates {
  readonly standing = new Standing();
  readonly recalled = new Recalled();
  readonly ownMutes: OwnMutes;
  readonly breaker: Breaker;
  readonly loopGuard: LoopGuard;
  readonly limits: RateLimits;
  readonly #makeAccess: () => Access;
  #access: Access;
  /** Every message passes these, commands too. */
  readonly atDoor: readonly Gate[];
  /** Every message that is no command, before anybody looks whether it is for the bot. */
  readonly beforeTrigger: readonly Gate[];
  /** Every question. The last one counts what all others let in. */
  readonly beforeTurn: readonly AskedGate[];

  constructor({ options, switches, calls, sessions, phrases, notices, onStanding }: GateParts) {
    const { admins } = options;
    this.#makeAccess = () => new Access(options.access, admins, switches);
    this.#access = this.#makeAccess();
    const access: Gate = { refuse: (message) => this.#access.refuse(message) };
    this.ownMutes = new OwnMutes(calls, onStanding);
    this.breaker = new Breaker(options.breaker);
    this.loopGuard = new LoopGuard(options.loopGuard, admins);
    this.limits = new RateLimits({ limits: options.limits, admins, phrases, notices });
    this.atDoor = [
      new NobodyWrote(),
      // Before all that may change: what was refused once is not taken when QQ replays it.
      new Arrivals(() => options.maxMessageAgeMs),
      this.standing,
      this.recalled,
      this.loopGuard.atDoor,
      { refuse: (message) => this.#access.atDoor.refuse(message) },
    ];
    this.beforeTrigger = [access, new Silenced(switches)];
    const known = new Robots(calls);
    const robots: AskedGate = {
      refuse: (message) => (options.loopGuard.askRobots ? known.refuse(message) : undefined),
    };
    this.beforeTurn = [sessions, this.loopGuard, robots, this.breaker, this.limits];
  }

  /** May questions be asked where this message was written? */
  serves(message: IncomingMessage): boolean {
    return this.#access.refuse(message) === undefined;
  }

  /** The options have changed: what was made of their lists is made again. The others read them as they go. */
  reconfigure(): void {
    this.#access = this.#makeAccess();
  }
}
