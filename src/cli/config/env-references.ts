// `"${NAME}"` in place of a text: the value of an environment variable, so that secrets need not stand in a file.
// In: the value of a file. Out: the same with the variables in their places, and which places those are.

/** A whole text: what merely holds such a thing, as a system prompt may, stays as it is. */
const REFERENCE = /^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$/u;

/** A variable that is named and not set. */
export interface MissingVariable {
  readonly keys: readonly PropertyKey[];
  readonly name: string;
}

export interface Resolved {
  readonly value: unknown;
  readonly missing: readonly MissingVariable[];
}

/** Puts the variables in. An empty one is one that is not set. */
export function withEnvironment(
  value: unknown,
  env: Readonly<Record<string, string | undefined>>,
): Resolved {
  const missing: MissingVariable[] = [];
  const visit = (inner: unknown, keys: readonly PropertyKey[]): unknown => {
    if (typeof inner === "string") {
      const name = REFERENCE.exec(inner)?.[1];
      if (name === undefined) return inner;
      const found = env[name];
      if (found !== undefined && found !== "") return found;
      missing.push({ keys, name });
      return undefined;
    }
    if (Array.isArray(inner)) return inner.map((item, index) => visit(item, [...keys, index]));
    if (typeof inner !== "object" || inner === null) return inner;
    const entries = Object.entries(inner).map(([key, item]) => [key, visit(item, [...keys, key])]);
    return Object.fromEntries(entries);
  };
  return { value: visit(value, []), missing };
}
