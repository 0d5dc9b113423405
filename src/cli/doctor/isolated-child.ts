// The process in which one native check runs. In: its name as argument, the settings as first message. Out: its
// findings as a message. A check that throws is a bug or an odd machine: the stack goes to stderr.

import { once } from "node:events";
import type { Settings } from "../settings.ts";
import type { Check, Finding } from "./finding.ts";
import { NATIVE_CHECKS, type NativeCheckName } from "./native-checks.ts";

const [settings] = (await once(process, "message")) as [Settings];
const name = process.argv[2] as NativeCheckName;
const check: Check = await NATIVE_CHECKS[name].load();
const found = await check({ settings, signal: new AbortController().signal });
const findings: readonly Finding[] = [found].flat();
process.send?.(findings, () => process.exit(0));
