// `napcat-vlm init`: the few questions it takes to begin. In: flags and answers. Out: a settings file with comments, and
// an exit code. The connection is tried while it is asked for; no file is overwritten without a yes.

import { existsSync } from "node:fs";
import { chmod, rename, rm, writeFile } from "node:fs/promises";
import { dirname, relative, resolve } from "node:path";
import { packagePath } from "../package-root.ts";
import { modelName } from "../vlm/hub/model-name.ts";
import { DEFAULT_FILES } from "./config/config-file.ts";
import { draftConfig } from "./init/config-draft.ts";
import { askConnection, type ConnectionAnswers } from "./init/connection-answers.ts";
import { isEndOfQuestions, type Questions, questionsAt, UNASKED } from "./init/questions.ts";
import { type Language, systemLanguage } from "./language.ts";
import { print } from "./terminal.ts";
import { UsageError } from "./usage-error.ts";

export interface InitOptions {
  readonly file: string | undefined;
  readonly napcat: string | undefined;
  readonly model: string | undefined;
  /** With commas between. */
  readonly admins: string | undefined;
  readonly groups: string | undefined;
  /** Ask nothing: what is not given has its default. */
  readonly yes: boolean;
  /** Overwrite without asking. */
  readonly force: boolean;
  readonly language: Language | undefined;
}

/** What of this computer is used; replaced in tests. */
export interface InitParts {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly directory: string;
  readonly isTerminal: boolean;
  readonly questions: (signal: AbortSignal) => Questions;
  readonly print: (line: string) => void;
}

const REAL: InitParts = {
  env: process.env,
  directory: process.cwd(),
  isTerminal: process.stdin.isTTY === true && process.stdout.isTTY === true,
  questions: (signal) => questionsAt({ signal }),
  print,
};

/** In a file of mode 0600 a token is as safe as in the environment of the process. */
const ONLY_MINE = 0o600;
const TOKEN_VARIABLE = "NAPCAT_TOKEN";

const WORDS = {
  zh: {
    overwrite: (file: string) => `${file} 已存在，覆盖吗？`,
    kept: "没有改动任何文件。",
    tokenPlace: "token 放在哪里？",
    tokenInFile: "写在文件里（只有你自己可读）",
    tokenInEnv: "环境变量 NAPCAT_TOKEN（文件里只写变量名）",
    model: "模型：目录，或名字如 qwen3-vl-2b（留空：自带的演示模型）",
    noModel: (model: string) => `! ${model} 还不存在，启动前请放好。`,
    admins: "管理员的 QQ 号（逗号分隔，可留空）",
    groupsToChoose: "机器人服务哪些群？（空格选择；一个都不选：所有群）",
    groups: "机器人服务的群号（逗号分隔；*：所有群）",
    numbers: "QQ 号或群号，逗号分隔",
    written: (file: string) => `✓ 已写入 ${file}`,
    next: "接下来：npx napcat-vlm doctor 检查，npx napcat-vlm start 启动",
  },
  en: {
    overwrite: (file: string) => `${file} is there already. Overwrite it?`,
    kept: "Nothing was changed.",
    tokenPlace: "Where is the token to be?",
    tokenInFile: "in the file, which only you can read",
    tokenInEnv: "in the variable NAPCAT_TOKEN, which the file names",
    model: "Model: a directory, or a name such as qwen3-vl-2b (empty: the demonstration model)",
    noModel: (model: string) => `! ${model} is not there yet; put it there before you start.`,
    admins: "QQ numbers of the admins (commas between, may be empty)",
    groupsToChoose: "Which groups does it serve? (space chooses; none: all of them)",
    groups: "Numbers of the groups it serves (commas between; *: all of them)",
    numbers: "numbers with commas between",
    written: (file: string) => `✓ written: ${file}`,
    next: "Next: npx napcat-vlm doctor checks, npx napcat-vlm start starts",
  },
} as const;

/** @throws {UsageError} where nobody can be asked, or a file would be lost */
export async function init(
  options: InitOptions,
  signal: AbortSignal,
  parts: InitParts = REAL,
): Promise<number> {
  if (!options.yes && !parts.isTerminal) {
    throw new UsageError(
      "`init` asks questions, and there is no terminal: use --yes with --napcat, --model, --admins, --groups.",
    );
  }
  const language = options.language ?? systemLanguage();
  try {
    return await new Init(options, parts, language, signal).run();
  } catch (error) {
    if (!isEndOfQuestions(error)) throw error;
    parts.print(WORDS[language].kept);
    return 0;
  }
}

class Init {
  readonly #options: InitOptions;
  readonly #parts: InitParts;
  readonly #language: Language;
  readonly #signal: AbortSignal;
  readonly #questions: Questions;
  readonly #file: string;

  constructor(options: InitOptions, parts: InitParts, language: Language, signal: AbortSignal) {
    this.#options = options;
    this.#parts = parts;
    this.#language = language;
    this.#signal = signal;
    this.#questions = options.yes ? UNASKED : parts.questions(signal);
    this.#file = resolve(parts.directory, options.file ?? DEFAULT_FILES[0]);
  }

  async run(): Promise<number> {
    const words = WORDS[this.#language];
    if (!(await this.#mayWrite())) {
      this.#parts.print(words.kept);
      return 1;
    }
    const connection = await askConnection({
      questions: this.#questions,
      language: this.#language,
      print: this.#parts.print,
      signal: this.#signal,
      url: this.#options.napcat ?? this.#variable("NAPCAT_URL"),
      token: this.#variable(TOKEN_VARIABLE),
      unasked: this.#options.yes,
    });
    const napcat = connection && { url: connection.url, token: await this.#tokenOf(connection) };
    const model = await this.#model();
    const admins = await this.#numbers(words.admins, this.#options.admins ?? "");
    const groups = await this.#groups(connection);
    const schema = this.#beside(packagePath("dist/napcat-vlm.schema.json"));
    const draft = draftConfig({ napcat, model, admins, groups, schema }, this.#language);
    this.#signal.throwIfAborted();
    await this.#write(draft);
    this.#parts.print(words.written(this.#file));
    this.#parts.print(words.next);
    return 0;
  }

  async #mayWrite(): Promise<boolean> {
    const { force, yes } = this.#options;
    if (force || !existsSync(this.#file)) return true;
    if (yes) throw new UsageError(`${this.#file} is there already; --force overwrites it.`);
    return this.#questions.confirm(WORDS[this.#language].overwrite(this.#file));
  }

  /** What stands in the file: a token, or the name of the variable that holds it. */
  async #tokenOf({ token }: ConnectionAnswers): Promise<string> {
    if (token === "") return "";
    const words = WORDS[this.#language];
    const reference = `\${${TOKEN_VARIABLE}}`;
    const choices = [
      { value: "file", name: words.tokenInFile },
      { value: "env", name: words.tokenInEnv },
    ];
    // A token that came from the variable need not be written anywhere.
    if (token === this.#variable(TOKEN_VARIABLE)) return reference;
    const place = await this.#questions.choose(words.tokenPlace, choices, "env");
    return place === "file" ? token : reference;
  }

  async #model(): Promise<string> {
    const { print: say, directory } = this.#parts;
    const words = WORDS[this.#language];
    const given = this.#options.model ?? this.#variable("VLM_MODEL") ?? "";
    const model = await this.#questions.text(words.model, given, () => undefined);
    const path = resolve(directory, model);
    if (model === "" || (modelName(model) !== undefined && !existsSync(path))) return model;
    if (!existsSync(path)) say(words.noModel(model));
    return this.#beside(path);
  }

  async #groups(connection: ConnectionAnswers | undefined): Promise<readonly string[]> {
    const words = WORDS[this.#language];
    const { groups, yes } = this.#options;
    const known = connection?.groups ?? [];
    if (groups === undefined && known.length > 0 && !yes) {
      const choices = known.map(({ id, name }) => ({ value: id, name: `${name} (${id})` }));
      const chosen = await this.#questions.chooseMany(words.groupsToChoose, choices);
      return chosen.length === 0 ? ["*"] : chosen;
    }
    const chosen = await this.#numbers(words.groups, groups ?? "*");
    return chosen.length === 0 ? ["*"] : chosen;
  }

  async #numbers(message: string, byDefault: string): Promise<readonly string[]> {
    const wrong = (answer: string) =>
      numbersIn(answer).every((number) => /^[\d*?]+$/u.test(number))
        ? undefined
        : WORDS[this.#language].numbers;
    const answer = await this.#questions.text(message, byDefault, wrong);
    if (wrong(answer) !== undefined) throw new UsageError(`Expected ${WORDS.en.numbers}.`);
    return numbersIn(answer);
  }

  /** A path as it stands in the file. */
  #beside(path: string): string {
    const from = relative(dirname(this.#file), path).replaceAll("\\", "/");
    return /^(\.|\/|[A-Za-z]:)/u.test(from) ? from : `./${from}`;
  }

  /** Whole or not at all, and from its first moment nobody else's to read. */
  async #write(text: string): Promise<void> {
    const beside = `${this.#file}.${process.pid}.new`;
    try {
      await writeFile(beside, text, { mode: ONLY_MINE, flag: "wx" });
      await chmod(beside, ONLY_MINE);
      await rename(beside, this.#file);
    } catch (error) {
      await rm(beside, { force: true });
      throw error;
    }
  }

  #variable(name: string): string | undefined {
    const value = this.#parts.env[name];
    return value === "" ? undefined : value;
  }
}

function numbersIn(text: string): readonly string[] {
  return text.split(/[\s,，、]+/u).filter(Boolean);
}
