#!/usr/bin/env node
// The command `napcat-vlm`. In: arguments and the environment. Out: an exit code: 0 done or stopped, 1 failed,
// 2 used wrongly. Ctrl-C is listened to before anything that takes time is even loaded.

import { listenForShutdown } from "./cli/shutdown.ts";
import { complain, flush, print, surviveBrokenPipes } from "./cli/terminal.ts";

surviveBrokenPipes();
const signal = listenForShutdown(() =>
  complain("\n正在退出… · stopping… (再按一次强制退出 · again: at once)"),
);

async function run(): Promise<number> {
  const { parseCommand } = await import("./cli/arguments.ts");
  const command = parseCommand(process.argv.slice(2));
  switch (command.name) {
    case "help": {
      const { HELP, helpOf } = await import("./cli/help.ts");
      print((command.of === undefined ? HELP : helpOf(command.of)).trimEnd());
      return 0;
    }
    case "version": {
      const { packageVersion } = await import("./package-root.ts");
      print(packageVersion());
      return 0;
    }
    case "setup-cuda": {
      const { setupCuda } = await import("./cli/setup-cuda.ts");
      return setupCuda({ ...command, signal });
    }
    case "init": {
      const { init } = await import("./cli/init.ts");
      return init(command, signal);
    }
    case "list": {
      const { listModels } = await import("./cli/list.ts");
      await listModels(command);
      return 0;
    }
    case "remove": {
      const { removeModel } = await import("./cli/remove.ts");
      return removeModel(command.model);
    }
    case "verify": {
      const { verifyModel } = await import("./cli/verify.ts");
      return verifyModel(command.model, signal);
    }
    case "path": {
      const { printPath } = await import("./cli/path.ts");
      await printPath(command.model);
      return 0;
    }
    case "start":
    case "convert":
    case "doctor":
    case "pull":
    case "bench":
    case "prove":
  }
  const { resolveSettings } = await import("./cli/settings.ts");
  const settings = resolveSettings(command.flags);
  switch (command.name) {
    case "start": {
      const { start } = await import("./cli/start.ts");
      await start(settings, signal, () => resolveSettings(command.flags));
      return 0;
    }
    case "pull": {
      const { pull } = await import("./cli/pull.ts");
      await pull({ ...command, ...settings, model: command.model }, signal);
      return 0;
    }
    case "convert": {
      const { convert } = await import("./cli/convert.ts");
      await convert({ ...command, ...settings }, signal);
      return 0;
    }
    case "bench": {
      const { bench } = await import("./cli/bench/bench.ts");
      const { findNamedModel } = await import("./cli/named-model.ts");
      const isNamed = command.flags.model !== undefined;
      const model = isNamed ? await findNamedModel(settings) : undefined;
      const { precision } = settings;
      if (precision === "fp16" || precision === "q4f16" || precision === "w8a16") {
        const { UsageError } = await import("./cli/usage-error.ts");
        throw new UsageError(`\`bench\` measures the CPU; for ${precision} there is \`prove\`.`);
      }
      await bench({ ...command, model, precision }, signal);
      return 0;
    }
    case "prove": {
      const { prove } = await import("./cli/prove/prove.ts");
      return prove({ ...command, device: settings.device }, signal);
    }
    case "doctor": {
      const { doctor } = await import("./cli/doctor.ts");
      return doctor(settings, { ...command, signal });
    }
  }
}

/** The code of whatever ended the command. What an abort broke is no failure. */
async function exitCodeOf(error: unknown): Promise<number> {
  if (signal.aborted) return 0;
  const { UsageError } = await import("./cli/usage-error.ts");
  if (error instanceof UsageError) {
    complain(`napcat-vlm: ${error.message} → napcat-vlm --help`);
    return 2;
  }
  const { describeFailure } = await import("./cli/errors.ts");
  complain(`napcat-vlm: ${describeFailure(error)}`);
  return 1;
}

const exitCode = await run().catch(exitCodeOf);
await flush();
process.exit(exitCode);
