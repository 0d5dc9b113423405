// `napcat-vlm pull NAME`: a model from a hub, verified and converted. In: a name and options. Out: a model on this disk,
// and how far it is. Ctrl-C, and whatever else ends it, leaves what came; the same command goes on from there.

import { type PulledModel, pullModel } from "../vlm/index.ts";
import { announcedDevice } from "./announced-device.ts";
import { showPull } from "./pull/show-pull.ts";
import type { Settings } from "./settings.ts";
import { complain, print } from "./terminal.ts";

export interface PullCommand {
  readonly model: string;
  readonly hub?: "auto" | "hf" | "modelscope" | undefined;
  readonly revision?: string | undefined;
  readonly keepCheckpoint?: boolean;
  readonly convert?: boolean;
  /** Somebody waits for it who says himself what comes next. @default false */
  readonly isStarting?: boolean;
  readonly connections?: number | undefined;
  readonly precision: Settings["precision"];
  readonly device: Settings["device"];
}

/** Resolves when the model is there. */
export async function pull(command: PullCommand, signal: AbortSignal): Promise<PulledModel> {
  const { model, hub, revision, connections, precision, keepCheckpoint = false } = command;
  const { convert = true, isStarting = false } = command;
  // Whoever starts a model is told when it is loaded.
  const told = isStarting || !convert;
  const device = told ? command.device : await announcedDevice(command.device);
  const shown = showPull();
  try {
    const pulled = await pullModel({
      model,
      device,
      convert,
      ...(convert && { keepCheckpoint }),
      ...(hub && { hub }),
      ...(revision && { revision }),
      ...(connections && { connections }),
      ...(precision && { precision }),
      signal,
      onProgress: (progress) => shown.show(progress),
      onWarning: (message) => shown.say(`注意 note: ${message}`),
    });
    shown.end();
    tell(pulled, isStarting);
    return pulled;
  } catch (error) {
    shown.end();
    if (signal.aborted)
      complain(`已下载的部分会保留 · what came is kept: napcat-vlm pull ${model}`);
    throw error;
  } finally {
    shown.end();
  }
}

function tell(
  { name, path, revision, host, checkpointDir, wasHere }: PulledModel,
  isStarting: boolean,
): void {
  const done = wasHere ? "已是最新 here already" : "完成 done";
  print(`${done}: ${name} · ${host} · ${revision.slice(0, 12)}`);
  print(path);
  if (isStarting) return;
  if (path === checkpointDir) print(`转换 convert it: napcat-vlm convert ${path}`);
  else print(`试一试 try it: napcat-vlm start --model ${name}`);
}
