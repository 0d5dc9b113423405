// Calls of tools that come in pieces. In: deltas as servers write them. Out: whole calls with JSON arguments.
// It runs nothing.

import { readToolCalls } from "../text/tool-call-text.ts";
import type { ToolCallPart } from "../vision-language-model.ts";

/** One piece; every field may be missing. */
export interface ToolCallDelta {
  readonly index?: number | undefined;
  readonly id?: string | undefined;
  readonly name?: string | undefined;
  /** Text to append; some servers send the value whole. */
  readonly arguments?: unknown;
}

interface OpenCall {
  readonly index: number | undefined;
  readonly id: string | undefined;
  readonly name: string;
  text: string;
}

export class ToolCallPieces {
  readonly #calls: OpenCall[] = [];

  get count(): number {
    return this.#calls.length;
  }

  push(delta: ToolCallDelta): void {
    const { index, name } = delta;
    // Empty ids are as good as none.
    const id = delta.id || undefined;
    const same = this.#find(index, id);
    // A piece with a name begins a call, unless it repeats the head of the one it goes on with. Numbers alone do not
    // tell: some servers give all calls of an answer the same one.
    const repeats = same !== undefined && same.name === name && same.id === id;
    const goesOn = name === undefined || name === "" || (repeats && id !== undefined);
    if (!goesOn) {
      this.#calls.push({ index, id, name, text: textOf(delta.arguments) });
      return;
    }
    // Some servers make up a new id for every piece: the number says more.
    const target = same ?? this.#calls.at(-1);
    if (target) target.text += textOf(delta.arguments);
  }

  /** All calls, once nothing more can come. */
  end(): ToolCallPart[] {
    const ids = new Set<string>();
    return this.#calls.map((call, number) => {
      const id = call.id !== undefined && !ids.has(call.id) ? call.id : `call_${number}`;
      ids.add(id);
      const [read] = readToolCalls(JSON.stringify({ name: call.name, arguments: call.text }), []);
      const head = { type: "tool-call" as const, id, name: call.name };
      return read === undefined
        ? { ...head, arguments: call.text, invalid: true }
        : { ...head, arguments: read.arguments };
    });
  }

  #find(index: number | undefined, id: string | undefined): OpenCall | undefined {
    const last = (isMeant: (call: OpenCall) => boolean) => this.#calls.findLast(isMeant);
    const byId = id === undefined ? undefined : last((call) => call.id === id);
    return byId ?? (index === undefined ? undefined : last((call) => call.index === index));
  }
}

function textOf(input: unknown): string {
  if (input === undefined || input === null) return "";
  return typeof input === "string" ? input : JSON.stringify(input);
}
