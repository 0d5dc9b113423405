// What a bot counts: messages, refusals, turns, sends, pictures, and where the time of its answers goes.
// In: what happened. Out: a snapshot, or Prometheus' text. No label ever names a person, a chat or what was said.
// The only file that uses prom-client.

import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { FinishPart } from "../../vlm/index.ts";

/** One number, with what tells it from others of its name. */
export interface Measured {
  /** Such as `napcat_vlm_turns_total`. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/** Read when somebody asks, not counted. */
export interface Gauges {
  readonly runningTurns: () => number;
  /** How many turns ever began. */
  readonly begunTurns: () => number;
  readonly connected: () => boolean;
}

/** Up to five minutes: what a CPU takes for a large picture. */
const SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320];

/** Where the time of an answer goes, by the names of `timings`. */
const STAGES = {
  queue: "queueMs",
  image: "imageMs",
  vision: "visionMs",
  prefill: "prefillMs",
  decode: "decodeMs",
} as const satisfies Readonly<Record<string, keyof FinishPart["timings"]>>;

/** The counters of one bot; several bots in one process do not share any. */
export class BotMetrics {
  readonly #registry = new Registry();
  readonly #messages = this.#counter("messages", "Messages that came in.", ["chat"]);
  readonly #refusals = this.#counter("refusals", "Messages that were not answered, by reason.", [
    "reason",
  ]);
  readonly #turns = this.#counter("turns", "Turns that are over, by how they ended.", [
    "trigger",
    "outcome",
  ]);
  readonly #sends = this.#counter("sends", "Messages sent, by what became of them.", ["outcome"]);
  readonly #pictures = this.#counter("pictures_unreadable", "Pictures that could not be had.", [
    "code",
  ]);
  readonly #toolCalls = this.#counter("tool_calls", "Calls of tools, by how they ended.", [
    "outcome",
  ]);
  readonly #tokens = this.#counter("tokens", "Tokens of answered questions.", ["kind"]);
  readonly #turnSeconds = this.#histogram("turn_seconds", "From a question to its answer.", []);
  readonly #stageSeconds = this.#histogram("answer_seconds", "Where the time of answers goes.", [
    "stage",
  ]);

  constructor({ runningTurns, begunTurns, connected }: Gauges) {
    this.#gauge("turns_begun_total", "Turns that began.", begunTurns);
    this.#gauge("turns_running", "Turns that are not over.", runningTurns);
    this.#gauge("connected", "1 while messages come and go.", () => (connected() ? 1 : 0));
  }

  /** A message that is no echo of the bot's own. */
  received(chat: "group" | "private"): void {
    this.#messages.inc({ chat });
  }

  refused(reason: string): void {
    this.#refusals.inc({ reason });
  }

  turnEnded(trigger: string, outcome: string, milliseconds: number): void {
    this.#turns.inc({ trigger, outcome });
    if (outcome === "answered") this.#turnSeconds.observe(milliseconds / 1000);
  }

  sent(outcome: string): void {
    this.#sends.inc({ outcome });
  }

  pictureUnreadable(code: string): void {
    this.#pictures.inc({ code });
  }

  toolCalled(outcome: string): void {
    this.#toolCalls.inc({ outcome });
  }

  /** What the model said of one answer. */
  answered({ usage, timings, cache }: Pick<FinishPart, "usage" | "timings" | "cache">): void {
    const cached = cache.promptTokens ?? 0;
    this.#tokens.inc({ kind: "prompt" }, usage.promptTokens);
    this.#tokens.inc({ kind: "prompt_cached" }, cached);
    this.#tokens.inc({ kind: "image" }, usage.imageTokens);
    this.#tokens.inc({ kind: "completion" }, usage.completionTokens);
    for (const [stage, name] of Object.entries(STAGES)) {
      this.#stageSeconds.observe({ stage }, timings[name] / 1000);
    }
  }

  /** Every number there is, histograms as their `_sum` and `_count`. */
  async snapshot(): Promise<readonly Measured[]> {
    const metrics = await this.#registry.getMetricsAsJSON();
    return metrics.flatMap(({ name, values }) =>
      values.flatMap((each): Measured[] => {
        const full = "metricName" in each ? String(each.metricName) : name;
        if (full.endsWith("_bucket")) return [];
        return [{ name: full, labels: labelsOf(each.labels), value: each.value }];
      }),
    );
  }

  /** Prometheus' text format, and its media type. */
  async prometheus(): Promise<{ readonly text: string; readonly mediaType: string }> {
    return { text: await this.#registry.metrics(), mediaType: this.#registry.contentType };
  }

  #counter<L extends string>(name: string, help: string, labelNames: L[]): Counter<L> {
    return new Counter({
      name: `napcat_vlm_${name}_total`,
      help,
      labelNames,
      registers: [this.#registry],
    });
  }

  #histogram<L extends string>(name: string, help: string, labelNames: L[]): Histogram<L> {
    return new Histogram({
      name: `napcat_vlm_${name}`,
      help,
      labelNames,
      buckets: SECONDS,
      registers: [this.#registry],
    });
  }

  #gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name: `napcat_vlm_${name}`,
      help,
      registers: [this.#registry],
      collect() {
        this.set(read());
      },
    });
  }
}

function labelsOf(labels: object): Record<string, string | number> {
  return Object.fromEntries(
    Object.entries(labels).filter(([, value]) => value !== undefined),
  ) as Record<string, string | number>;
}
