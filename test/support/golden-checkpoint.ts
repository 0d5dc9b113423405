// The golden checkpoints of the specification, as `napcat-vlm prove` has them too.

import { join } from "node:path";

export {
  GOLDEN_NAMES,
  type GoldenCase,
  type GoldenName,
  goldenCases,
  goldenCheckpoint,
} from "../../src/vlm/proof/goldens.ts";

export const TINY_CHAT = join(import.meta.dirname, "..", "..", "examples", "tiny-chat");
