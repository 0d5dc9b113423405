// Who has a core first where more want one than there are. Out: what the system can do about it. It starts no thread.

/** `low`: everything that does not compute a model goes before what does. */
export const COMPUTE_PRIORITIES = ["normal", "low"] as const;
export type ComputePriority = (typeof COMPUTE_PRIORITIES)[number];

/** Only Linux gives each thread a priority of its own; elsewhere the same call is about the whole process. */
export function hasThreadPriorities(platform: string = process.platform): boolean {
  return platform === "linux";
}

/** Why a priority that was asked for changes nothing, for people; undefined where it does, or nobody asked. */
export function uselessPriority(
  priority: ComputePriority,
  device: string,
  platform?: string,
): string | undefined {
  if (priority === "normal") return undefined;
  if (device !== "cpu")
    return `computePriority "low" is about the CPU, and changes nothing on ${device}.`;
  if (hasThreadPriorities(platform)) return undefined;
  return 'computePriority "low" changes nothing here: of the systems we know, only Linux has priorities of threads.';
}
