// The tools of an MCP server as tools of the bot. In: a connected client of the official SDK. Out: tools.
// Of the SDK nothing is imported: whoever has a client has the package. Connecting and closing stay with the caller.

import { z } from "zod";
import type { ContentPart } from "../../vlm/index.ts";
import type { BotTool, ToolPermission } from "./bot-tool.ts";

/** What is used of `Client` of `@modelcontextprotocol/sdk`. */
export interface McpClient {
  listTools(params?: { cursor?: string }): Promise<{
    readonly tools: readonly {
      readonly name: string;
      readonly description?: string | undefined;
      readonly inputSchema: object;
    }[];
    readonly nextCursor?: string | undefined;
  }>;
  callTool(
    params: { name: string; arguments?: Record<string, unknown> },
    resultSchema: undefined,
    options: { signal: AbortSignal; timeout: number },
  ): Promise<unknown>;
}

export interface McpToolsOptions extends ToolPermission, Pick<BotTool, "note" | "timeoutMs"> {
  /** Names of the tools to take. @default all of them */
  readonly only?: readonly string[] | undefined;
  /** Put in front of every name, where two servers have tools of the same one. @default "" */
  readonly prefix?: string | undefined;
}

/** A server that goes on listing for ever ends here. */
const MAX_TOOLS = 1000;
/** Deadlines are the bot's: its signal ends a call. */
const NO_TIMEOUT_MS = 2 ** 31 - 1;

const RESULT = z.looseObject({
  content: z.array(z.looseObject({ type: z.string() })).catch([]),
  structuredContent: z.unknown().optional(),
  isError: z.boolean().optional().catch(undefined),
});

const TEXT = z.looseObject({ type: z.literal("text"), text: z.string() });
const IMAGE = z.looseObject({ type: z.literal("image"), data: z.string() });
const RESOURCE = z.looseObject({
  type: z.literal("resource"),
  resource: z.looseObject({ text: z.string() }),
});

/**
 * Asks an MCP server for its tools. Who may cause calls is said for all of them; call this again with other names of
 * `only` where that differs.
 *
 * @example
 * const client = new Client({ name: "my-bot", version: "1.0.0" });
 * await client.connect(new StdioClientTransport({ command: "npx", args: ["some-mcp-server"] }));
 * const bot = installVlm(napcat, { model, tools: await mcpTools(client, { needs: "admin" }) });
 */
export async function mcpTools(
  client: McpClient,
  { only, prefix = "", ...rest }: McpToolsOptions = {},
): Promise<BotTool[]> {
  const tools: BotTool[] = [];
  let cursor: string | undefined;
  do {
    const page = await client.listTools(cursor === undefined ? {} : { cursor });
    for (const { name, description, inputSchema } of page.tools) {
      if (only !== undefined && !only.includes(name)) continue;
      tools.push({
        ...rest,
        name: nameOf(prefix, name),
        description,
        inputSchema: inputSchema as Readonly<Record<string, unknown>>,
        execute: (input, { signal }) => call(client, name, input, signal),
      });
    }
    cursor = page.nextCursor;
  } while (cursor !== undefined && tools.length < MAX_TOOLS);
  const missing = (only ?? []).filter(
    (name) => !tools.some((tool) => tool.name === nameOf(prefix, name)),
  );
  if (missing.length > 0) throw new TypeError(`The MCP server has no tool ${missing.join(", ")}.`);
  return tools;
}

/** Models know letters, digits, `_` and `-` in names; servers may have dots and slashes. */
function nameOf(prefix: string, name: string): string {
  return `${prefix}${name}`.replace(/[^\w-]/gu, "_");
}

async function call(
  client: McpClient,
  name: string,
  input: unknown,
  signal: AbortSignal,
): Promise<readonly ContentPart[] | unknown> {
  const params = { name, arguments: input as Record<string, unknown> };
  const answer = await client.callTool(params, undefined, { signal, timeout: NO_TIMEOUT_MS });
  const { content, structuredContent, isError } = RESULT.parse(answer);
  const parts = content.map(toPart);
  // What is thrown the model hears as an error.
  if (isError)
    throw new Error(parts.flatMap((part) => ("text" in part ? part.text : [])).join(" "));
  return parts.length === 0 ? structuredContent : parts;
}

function toPart(block: { readonly type: string }): ContentPart {
  const text = TEXT.safeParse(block);
  if (text.success) return { type: "text", text: text.data.text };
  const image = IMAGE.safeParse(block);
  if (image.success) return { type: "image", data: Buffer.from(image.data.data, "base64") };
  const resource = RESOURCE.safeParse(block);
  if (resource.success) return { type: "text", text: resource.data.resource.text };
  return { type: "text", text: `(content of the kind ${block.type}, which cannot be shown)` };
}
