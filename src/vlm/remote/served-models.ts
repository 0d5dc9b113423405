// What `GET /models` lists. In: its body. Out: names, and how much context each has where the server says so.

import { z } from "zod";

export interface ServedModel {
  readonly name: string;
  readonly contextTokens: number | undefined;
}

const COUNT = z.number().int().min(1).optional().catch(undefined);

const MODEL = z.looseObject({
  id: z.string().min(1),
  /** vLLM, SGLang. */
  max_model_len: COUNT,
  /** OpenRouter and others. */
  context_length: COUNT,
  /** llama-server. */
  meta: z.looseObject({ n_ctx: COUNT, n_ctx_train: COUNT }).nullish().catch(undefined),
});

/** @returns nothing for what is no such list */
export function servedModels(body: unknown): readonly ServedModel[] {
  const list = z.looseObject({ data: z.array(z.unknown()) }).safeParse(body);
  if (!list.success) return [];
  return list.data.data.flatMap((entry) => {
    const model = MODEL.safeParse(entry);
    if (!model.success) return [];
    const { id, max_model_len, context_length, meta } = model.data;
    const contextTokens = max_model_len ?? context_length ?? meta?.n_ctx ?? meta?.n_ctx_train;
    return [{ name: id, contextTokens }];
  });
}
