// The settings that have a flag or a variable of their own, and a short key in the file. In: text or a value. Out: the
// value, or what was expected. The same checks wherever it comes from.

import { z } from "zod";
import { isServerUrl, SERVER_URL } from "../../bot/napcat/connect-options.ts";
import { either, integer, list, matching, nonEmptyText, oneOf } from "../../parse-options.ts";
import { PRECISIONS } from "../../vlm/convert/linear-layers.ts";
import { parseRemoteAddress } from "../../vlm/remote/remote-address.ts";

const HOSTS = "hosts such as img.example.com or 127.0.0.1:8080, with commas between";
const MODELS = "models as `--model` names them, with spaces between";
const PORT = "a port from 0 to 65535";

/** A text of one form. */
function textLike(expected: string, form: RegExp) {
  return z.string({ error: expected }).regex(form, expected);
}

/** A directory, a name, or an address of a server. */
function modelText() {
  const error = "a directory, a name, or an address such as openai:http://127.0.0.1:8000/v1#name";
  return nonEmptyText().refine(isModel, { error });
}

function isModel(text: string): boolean {
  try {
    parseRemoteAddress(text);
    return true;
  } catch {
    return false;
  }
}

/** What a short key, a flag or a variable may hold. */
export const SHORT_KEYS = {
  model: modelText(),
  device: textLike("cpu, cuda:N, webgpu or auto", /^(auto|cpu|webgpu|cuda(:\d+)?)$/u),
  precision: oneOf(PRECISIONS),
  host: textLike("a host name or an IP address", /^[\w.:[\]-]+$/u),
  port: either(
    [integer(0, 65_535), matching<string>(PORT, (value) => isPort(value), "string")],
    PORT,
  ),
  napcat: matching<string>(`${SERVER_URL}, such as ws://127.0.0.1:3001`, isServerUrl, "string"),
  napcatToken: nonEmptyText(),
  imageHosts: either(
    [
      list(textLike(HOSTS, /^[\w.-]+(:\d+)?$/u), HOSTS),
      textLike(HOSTS, /^[\w.-]+(:\d+)?([\s,]+[\w.-]+(:\d+)?)*[\s,]*$/u),
    ],
    HOSTS,
  ),
  data: nonEmptyText(),
  fallback: either([list(modelText(), "a list of models"), nonEmptyText()], MODELS),
  modelKey: textLike("a key of printable ASCII characters", /^[!-~]+$/u),
  debugToken: z
    .string({ error: "a string" })
    .min(16, "at least 16 characters")
    .regex(/^[!-~]*$/u, "ASCII characters without spaces, for it travels in a header"),
};

export type ShortKey = keyof typeof SHORT_KEYS;

/** Values of short keys, checked. */
export type ShortValues = { readonly [K in ShortKey]?: z.infer<(typeof SHORT_KEYS)[K]> };

/** Environment variable of each. */
export const VARIABLES: Readonly<Record<ShortKey, string>> = {
  model: "VLM_MODEL",
  device: "VLM_DEVICE",
  precision: "VLM_PRECISION",
  host: "HOST",
  port: "PORT",
  napcat: "NAPCAT_URL",
  napcatToken: "NAPCAT_TOKEN",
  imageHosts: "IMAGE_HOSTS",
  data: "VLM_DATA",
  fallback: "VLM_FALLBACK",
  modelKey: "OPENAI_API_KEY",
  debugToken: "DEBUG_TOKEN",
};

function isPort(value: unknown): boolean {
  return typeof value === "string" && /^\d+$/u.test(value) && Number(value) <= 65_535;
}

/** A list, or the same as text with spaces. */
export function modelsOf(value: readonly string[] | string): readonly string[] {
  return typeof value === "string" ? value.split(/\s+/u).filter(Boolean) : value;
}

/** A list, or the same as text with commas. */
export function hostsOf(value: readonly string[] | string): readonly string[] {
  return typeof value === "string" ? value.split(/[\s,]+/u).filter(Boolean) : value;
}
