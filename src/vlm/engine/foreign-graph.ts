// A graph that another program made, loaded and looked at: are its inputs and outputs those that are known here? In: a file
// and what is expected. Out: a session, or an error that names what is different.

import { basename, dirname, join } from "node:path";
import { ModelLoadError } from "../errors.ts";
import type { ForeignGraph } from "../foreign/foreign-files.ts";
import { Session, type SessionOptions } from "../runtime/session.ts";
import type { TensorSpec } from "../runtime/signature.ts";
import { type ElementType, shapeText } from "../runtime/value.ts";
import { withCpuSettings } from "./cpu-settings.ts";
import type { FloatType } from "./float-values.ts";

export interface TensorForm {
  readonly types: readonly ElementType[];
  readonly dims: readonly (number | "any")[];
  readonly optional?: boolean;
}

export const FLOATS: readonly FloatType[] = ["f32", "f16"];

export interface GraphForm {
  /** By name; the number of a layer is written `*`. */
  readonly inputs: Readonly<Record<string, TensorForm>>;
  readonly outputs: Readonly<Record<string, TensorForm>>;
}

/** @throws ModelLoadError `model-unsupported` when the graph wants or gives something else */
export async function loadForeignGraph(
  directory: string,
  graph: ForeignGraph,
  form: GraphForm,
  options: SessionOptions,
): Promise<Session> {
  const path = join(directory, ...graph.file.split("/"));
  // Whatever int8 products there are have weights over the full range.
  const session = await Session.load(path, await withCpuSettings(options)).catch((error) => {
    throw withDataHint(error, path);
  });
  try {
    expectForm(session, graph.file, form);
    return session;
  } catch (error) {
    await session.dispose();
    throw error;
  }
}

/** The type of a float input or output. */
export function floatType(specs: readonly TensorSpec[], name: string): FloatType {
  return specs.find((spec) => spec.name === name)?.type === "f16" ? "f16" : "f32";
}

export function hasTensor(specs: readonly TensorSpec[], name: string): boolean {
  return specs.some((spec) => spec.name === name);
}

function expectForm(session: Session, file: string, form: GraphForm): void {
  for (const kind of ["inputs", "outputs"] as const) {
    const specs = session[kind];
    for (const spec of specs) {
      const known = form[kind][generalName(spec.name)];
      // What else a graph can tell needs not be asked for.
      if (known === undefined && kind === "outputs") continue;
      const problem = known === undefined ? "nothing is known about it here" : misfit(spec, known);
      if (problem === undefined) continue;
      throw unsupported(
        file,
        `its ${kind.slice(0, -1)} \`${spec.name}\` is ${described(spec)}: ${problem}`,
      );
    }
    const names = new Set(specs.map(({ name }) => generalName(name)));
    const missing = Object.keys(form[kind]).filter(
      (name) => !names.has(name) && form[kind][name]?.optional !== true,
    );
    if (missing.length > 0)
      throw unsupported(file, `it has no ${kind} \`${missing.join("`, `")}\``);
  }
}

/** What is wrong with an input or output, if anything. */
function misfit({ type, dims }: TensorSpec, known: TensorForm): string | undefined {
  if (type === undefined || !known.types.includes(type)) {
    return `${known.types.join(" or ")} can be computed with`;
  }
  // Nothing is said of the shape of some outputs.
  if (dims.length === 0) return undefined;
  const fits =
    dims.length === known.dims.length &&
    known.dims.every(
      (size, axis) => size === "any" || typeof dims[axis] === "string" || size === dims[axis],
    );
  return fits ? undefined : `${shapeText(known.dims)} is expected`;
}

function described({ type, dims }: TensorSpec): string {
  return `${type ?? "of another number format"} ${shapeText(dims)}`;
}

function generalName(name: string): string {
  return name.replace(/\.\d+\./, ".*.");
}

function unsupported(file: string, what: string): ModelLoadError {
  return new ModelLoadError(
    "model-unsupported",
    `${file} is not the graph of a Qwen3-VL package that can be run here: ${what}. ` +
      "Name the safetensors checkpoint it was made from instead.",
  );
}

/** The runtime names a tensor where the files that the weights lie in are missing or cut. */
function withDataHint(error: unknown, path: string): unknown {
  if (!(error instanceof ModelLoadError) || !/external/i.test(error.message)) return error;
  return new ModelLoadError(
    "model-files-missing",
    `${error.message}. The weights of ${basename(path)} lie in files beside it, which are missing or not whole: ` +
      "download or export them again.",
    { cause: error, modelDir: dirname(path), missing: [`${basename(path)}*`] },
  );
}
