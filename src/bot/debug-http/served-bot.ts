// The bot behind the debug adapter: types only. Apart from the routes, so that whoever uses the package needs no types
// of the HTTP library.

import type { VisionLanguageModel } from "../../vlm/index.ts";
import type { Responder } from "../chat/responder.ts";

/** What the routes need of a responder; a fake is easily made. */
export type ChatResponder = Pick<Responder, "respond" | "reset">;

/** What is told about a model: its state and its name. */
export type DescribedModel = Pick<VisionLanguageModel, "info" | "disposed" | "health">;
