// Options that are replaced while parts of a bot hold them. In: the options that hold now. Out: a view that always reads
// as they do, however deep: a part that keeps a section of it reads the new one from the next message on. Whoever copies
// a number out of it keeps the old one. It knows nothing of what the options mean.

/** What a part knows by identity, and what is no data. */
const AS_IT_IS: readonly PropertyKey[] = ["model", "store", "logger", "signal", "own", "tools"];

/** The options that hold now. */
export class LiveOptions<T extends object> {
  #current: T;
  /** Reads as {@link current} does, now and later. */
  readonly view: T;

  constructor(options: T) {
    this.#current = options;
    this.view = viewOf(() => this.#current);
  }

  get current(): T {
    return this.#current;
  }

  /** From now on these hold. */
  replace(options: T): void {
    this.#current = options;
  }
}

function viewOf<T extends object>(current: () => T): T {
  const inner = new Map<PropertyKey, object>();
  const target: object = Array.isArray(current()) ? [] : {};
  return new Proxy(target, {
    get(_target, key) {
      const value: unknown = Reflect.get(current(), key);
      if (AS_IT_IS.includes(key) || !isData(value)) return value;
      const known = inner.get(key);
      if (known !== undefined && Array.isArray(known) === Array.isArray(value)) return known;
      const view = viewOf(() => {
        const now: unknown = Reflect.get(current(), key);
        return isData(now) ? now : {};
      });
      inner.set(key, view);
      return view;
    },
    has: (_target, key) => Reflect.has(current(), key),
    ownKeys: () => Reflect.ownKeys(current()),
    getOwnPropertyDescriptor(held, key) {
      const found = Reflect.getOwnPropertyDescriptor(current(), key);
      // A proxy may not deny what its target has for good: the length of a list.
      const isFixed = Reflect.getOwnPropertyDescriptor(held, key)?.configurable === false;
      return found === undefined ? undefined : { ...found, configurable: !isFixed };
    },
    set: () => false,
  }) as T;
}

/** Lists and plain objects; instances of classes are somebody's. */
function isData(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  if (Array.isArray(value)) return true;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
