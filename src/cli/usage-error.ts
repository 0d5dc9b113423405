// What somebody typed wrong on the command line. It becomes one line and exit code 2.

export class UsageError extends Error {
  override readonly name: string = "UsageError";
}
