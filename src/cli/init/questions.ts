// Questions to the person at the terminal. In: what is asked, and a default. Out: answers. It knows nothing of what they
// are for. The only file with @inquirer/prompts.

import { checkbox, confirm, input, password, select } from "@inquirer/prompts";

export interface Choice {
  readonly value: string;
  readonly name: string;
}

export interface Questions {
  /** @param check what is wrong with an answer, or nothing */
  text(
    message: string,
    byDefault: string,
    check: (answer: string) => string | undefined,
  ): Promise<string>;
  /** Nothing of it is shown; `""` where nothing was typed. */
  secret(message: string): Promise<string>;
  /** @param unasked the answer where nobody can be asked */
  choose(message: string, choices: readonly Choice[], unasked: string): Promise<string>;
  /** Any number of them. */
  chooseMany(message: string, choices: readonly Choice[]): Promise<readonly string[]>;
  confirm(message: string): Promise<boolean>;
}

/** A terminal, and a signal that ends the questions. */
export interface Terminal {
  readonly input?: NodeJS.ReadableStream;
  readonly output?: NodeJS.WritableStream;
  readonly signal: AbortSignal;
}

/** Asks at a terminal. */
export function questionsAt(terminal: Terminal): Questions {
  return {
    text: (message, byDefault, check) =>
      input(
        {
          message,
          ...(byDefault === "" ? {} : { default: byDefault }),
          validate: (answer) => check(answer.trim()) ?? true,
        },
        terminal,
      ).then((answer) => answer.trim()),
    secret: (message) => password({ message, mask: "*" }, terminal),
    choose: (message, choices) => select({ message, choices: [...choices] }, terminal),
    chooseMany: (message, choices) =>
      checkbox({ message, choices: [...choices], pageSize: 12 }, terminal),
    confirm: (message) => confirm({ message, default: false }, terminal),
  };
}

/** Answers with the defaults. */
export const UNASKED: Questions = {
  text: async (_message, byDefault) => byDefault,
  secret: async () => "",
  choose: async (_message, _choices, unasked) => unasked,
  chooseMany: async () => [],
  confirm: async () => false,
};

/** Did the person at the terminal end the questions? */
export function isEndOfQuestions(error: unknown): boolean {
  return error instanceof Error && /^(ExitPrompt|AbortPrompt)Error$/u.test(error.name);
}
