// The words after `napcat-vlm`. In: arguments. Out: one command with its options, still as text, or a UsageError.
// What the options mean, settings.ts finds out.

import type { ComputePriority } from "../vlm/runtime/compute-priority.ts";
import type { ShapeName } from "./bench/shape-names.ts";
import { expectCommand, isCommand, readWords } from "./command-words.ts";
import type { InitOptions } from "./init.ts";
import type { Language } from "./language.ts";
import {
  computePriority,
  countOf,
  cudaMajor,
  hubOf,
  modelOf,
  refuseMore,
  sha256Of,
  shapeName,
  toLanguage,
  webAddress,
} from "./option-values.ts";
import { UsageError } from "./usage-error.ts";

/** Options that are settings too; they can also come from the environment or a file. */
export type SettingFlags = Partial<
  Record<
    | "model"
    | "device"
    | "precision"
    | "host"
    | "port"
    | "napcat"
    | "image-hosts"
    | "data"
    | "fallback"
    | "config",
    string
  >
>;

export type Command =
  | { readonly name: "start"; readonly flags: SettingFlags }
  | ({ readonly name: "init" } & InitOptions)
  | {
      readonly name: "convert";
      readonly directory: string;
      readonly out: string | undefined;
      /** Directories of adapters, in the order of merging. */
      readonly lora: readonly string[];
      readonly flags: SettingFlags;
    }
  | {
      readonly name: "doctor";
      readonly language: Language | undefined;
      readonly json: boolean;
      readonly picture: string | undefined;
      readonly flags: SettingFlags;
    }
  | {
      readonly name: "pull";
      readonly model: string;
      readonly hub: "auto" | "hf" | "modelscope" | undefined;
      readonly revision: string | undefined;
      readonly keepCheckpoint: boolean;
      readonly convert: boolean;
      readonly connections: number | undefined;
      readonly flags: SettingFlags;
    }
  | { readonly name: "list"; readonly json: boolean }
  | { readonly name: "remove" | "verify" | "path"; readonly model: string }
  | {
      readonly name: "bench";
      readonly size: ShapeName;
      readonly threads: number | undefined;
      readonly computePriority: ComputePriority;
      readonly out: string | undefined;
      readonly flags: SettingFlags;
    }
  | {
      readonly name: "prove";
      readonly json: string | undefined;
      readonly quick: boolean;
      /** Of the models whose speed is measured; undefined: what the device can be expected to bear. */
      readonly size: ShapeName | undefined;
      readonly flags: SettingFlags;
    }
  | {
      readonly name: "setup-cuda";
      readonly force: boolean;
      readonly libraries: boolean;
      readonly cuda: 12 | 13 | undefined;
      readonly mirror: string | undefined;
      readonly from: string | undefined;
      readonly sha256: string | undefined;
      readonly pypi: string | undefined;
    }
  /** About all, or about one command. */
  | { readonly name: "help"; readonly of: string | undefined }
  | { readonly name: "version" };

/** @throws {UsageError} for anything that cannot be meant. */
export function parseCommand(argv: readonly string[]): Command {
  const { name, rest, values } = readWords(argv);
  // `help start` is asked for as often as `start --help`.
  const [about] = name === "help" ? rest : [name];
  if (values.help || name === "help") {
    return { name: "help", of: about !== undefined && isCommand(about) ? about : undefined };
  }
  if (values.version || name === "version") return { name: "version" };
  expectCommand(name, Object.keys(values));

  const {
    out,
    size,
    threads,
    "compute-priority": priority = "normal",
    admins,
    groups,
    yes = false,
    force = false,
    cuda,
    mirror,
    from,
    sha256,
    libraries = false,
    pypi,
    lang,
    json = false,
    quick = false,
    picture,
    hub,
    revision,
    "keep-checkpoint": keepCheckpoint = false,
    "no-convert": noConvert = false,
    connections,
    lora = [],
    help: _,
    version: __,
    ...flags
  } = values;
  if (name === "convert") {
    const [directory, ...more] = rest;
    if (directory === undefined) throw new UsageError("`convert` needs the directory of a model.");
    refuseMore(name, more);
    return { name, directory, out, lora, flags };
  }
  if (name === "pull") {
    return {
      name,
      model: modelOf(name, rest),
      hub: hubOf(hub),
      revision,
      keepCheckpoint,
      convert: !noConvert,
      connections: countOf("--connections", connections, 16),
      flags,
    };
  }
  if (name === "remove" || name === "verify" || name === "path") {
    return { name, model: modelOf(name, rest) };
  }
  refuseMore(name, rest);
  if (name === "init") {
    const { config: file, napcat, model } = flags;
    const language = toLanguage(lang);
    return { name, file, napcat, model, admins, groups, yes, force, language };
  }
  if (name === "list") return { name, json: json === true };
  if (name === "bench") {
    return {
      name,
      size: shapeName(size ?? "2b"),
      threads: countOf("--threads", threads, 999),
      computePriority: computePriority(priority),
      out,
      flags,
    };
  }
  if (name === "prove") {
    return {
      name,
      json: typeof json === "string" ? json : undefined,
      quick,
      size: size === undefined ? undefined : shapeName(size),
      flags,
    };
  }
  if (name === "setup-cuda") {
    return {
      name,
      force,
      libraries,
      cuda: cudaMajor(cuda),
      mirror: webAddress("--mirror", mirror),
      from,
      sha256: sha256Of(sha256),
      pypi: webAddress("--pypi", pypi),
    };
  }
  if (name === "start") return { name, flags };
  return { name: "doctor", language: toLanguage(lang), json: json === true, picture, flags };
}
