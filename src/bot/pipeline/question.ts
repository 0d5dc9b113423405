// What goes from stage to stage once it is known that somebody asks the bot: types only.

import type { TriggerName } from "../triggers/triggers.ts";
import type { MergeWindow } from "./merge.ts";

/** What one person wants to know. More of it may come as long as its window is open. */
export interface Question {
  readonly trigger: TriggerName;
  readonly window: MergeWindow;
}
