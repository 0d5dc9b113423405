// The public list of `napcat-vlm/vlm`.

export * from "./errors.ts";
export type * from "./vision-language-model.ts";
