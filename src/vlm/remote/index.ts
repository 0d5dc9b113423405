// The public list of `napcat-vlm/remote`: models that other engines serve, behind the same seam.

export type * from "../vision-language-model.ts";
export {
  type FallbackEvent,
  type FallbackMember,
  type FallbackOptions,
  fallback,
} from "./fallback.ts";
export type { OpenAiVlmOptions } from "./open-ai-options.ts";
export { type OpenAiVlm, openAiVlm, type ServerState } from "./open-ai-vlm.ts";
export { parseRemoteAddress, type RemoteAddress } from "./remote-address.ts";
