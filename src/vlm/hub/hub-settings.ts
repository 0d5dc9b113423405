// Which hubs there are and who we are to them. In: the environment, as the hubs' own programs read it. Out: hubs with
// their addresses and tokens. Tokens are read here and leave in one header, to the hub's own address.

import { homedir } from "node:os";
import { join } from "node:path";
import { disk } from "../../disk.ts";
import { unexpected } from "../../parse-options.ts";
import type { Hub, HubKind } from "./hub.ts";
import { HuggingFace } from "./hugging-face.ts";
import { ModelScope } from "./model-scope.ts";
import { literalAddress, reachOf } from "./reach.ts";

const HUGGING_FACE = "https://huggingface.co";
const MODEL_SCOPES = ["https://modelscope.cn", "https://www.modelscope.ai"];

export interface HubSettings {
  readonly hub: HubKind | "auto";
  readonly env: NodeJS.ProcessEnv;
  /** Told what is unusual. */
  readonly onWarning: (message: string) => void;
}

/** Those that may be asked. With `auto`, an address that somebody named is the only one that is meant. */
export async function namedHubs(settings: HubSettings): Promise<readonly Hub[]> {
  const { hub, env } = settings;
  const named = {
    hf: isSet(env.HF_ENDPOINT),
    modelscope: isSet(env.MODELSCOPE_ENDPOINT) || isSet(env.MODELSCOPE_DOMAIN),
  };
  const one = named.hf !== named.modelscope;
  const wanted = (kind: HubKind) => hub === kind || (hub === "auto" && (!one || named[kind]));
  return [
    ...(wanted("hf") ? [await huggingFace(settings)] : []),
    ...(wanted("modelscope") ? modelScopes(settings) : []),
  ];
}

async function huggingFace({ env, onWarning }: HubSettings): Promise<Hub> {
  const endpoint = endpointOf("HF_ENDPOINT", env.HF_ENDPOINT) ?? new URL(HUGGING_FACE);
  const token = await huggingFaceToken(env, endpoint);
  return new HuggingFace({ endpoint, token: guarded(token, "HF_TOKEN", endpoint, onWarning) });
}

function modelScopes({ env, onWarning }: HubSettings): Hub[] {
  const domain = isSet(env.MODELSCOPE_DOMAIN) ? `https://${env.MODELSCOPE_DOMAIN}` : undefined;
  const named =
    endpointOf("MODELSCOPE_ENDPOINT", env.MODELSCOPE_ENDPOINT) ??
    endpointOf("MODELSCOPE_DOMAIN", domain);
  const usual = MODEL_SCOPES.map((text) => new URL(text));
  if (/^(?:1|true|yes|on)$/i.test(env.MODELSCOPE_PREFER_AI_SITE ?? "")) usual.reverse();
  const variable = "MODELSCOPE_API_TOKEN";
  return (named === undefined ? usual : [named]).map((endpoint, index) => {
    // An account belongs to one of the two sites: the second is only asked for what is open to all.
    const token = index === 0 ? clean(env[variable]) : undefined;
    return new ModelScope({ endpoint, token: guarded(token, variable, endpoint, onWarning) });
  });
}

/** One that was set is meant for the hub that was set; one that a log-in left behind, for the hub of that log-in. */
async function huggingFaceToken(
  env: NodeJS.ProcessEnv,
  endpoint: URL,
): Promise<string | undefined> {
  const set = clean(env.HF_TOKEN) ?? clean(env.HUGGING_FACE_HUB_TOKEN);
  if (set !== undefined) return set;
  const implicit = !isSet(env.HF_HUB_DISABLE_IMPLICIT_TOKEN);
  if (!implicit || endpoint.origin !== HUGGING_FACE) return undefined;
  const file = env.HF_TOKEN_PATH ?? join(huggingFaceHome(env), "token");
  return clean(await disk.readText(file).catch(() => undefined));
}

/** A token in clear text is everybody's on the way. */
function guarded(
  token: string | undefined,
  variable: string,
  endpoint: URL,
  onWarning: (message: string) => void,
): string | undefined {
  if (token === undefined || endpoint.protocol === "https:") return token;
  const address = literalAddress(endpoint);
  if (address !== undefined && reachOf(address) === "loopback") return token;
  onWarning(`${variable} is not sent to ${endpoint.host}: its address is not https.`);
  return undefined;
}

/** `HF_HOME` as Hugging Face's own programs find it. */
export function huggingFaceHome(env: NodeJS.ProcessEnv): string {
  if (isSet(env.HF_HOME)) return expanded(env.HF_HOME ?? "");
  const cache = isSet(env.XDG_CACHE_HOME) ? env.XDG_CACHE_HOME : join(homedir(), ".cache");
  return join(cache ?? "", "huggingface");
}

/** `~` stands for the home of whoever runs this. */
export function expanded(path: string): string {
  return path.replace(/^~(?=$|[\\/])/, homedir());
}

/** @throws TypeError for what is no address of the web, or has a password in it */
function endpointOf(variable: string, text: string | undefined): URL | undefined {
  if (!isSet(text)) return undefined;
  const url = URL.canParse(text ?? "") ? new URL(text ?? "") : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username || url.password) {
    const shown = url === undefined ? text : `${url.protocol}//${url.host}`;
    throw new TypeError(unexpected(variable, "an address such as https://hf-mirror.com", shown));
  }
  url.search = "";
  url.hash = "";
  return url;
}

function isSet(text: string | undefined): boolean {
  return text !== undefined && text.trim() !== "";
}

/** What can travel in a header. */
function clean(text: string | undefined): string | undefined {
  const token = text?.trim() ?? "";
  return /^[!-~]+$/.test(token) ? token : undefined;
}
