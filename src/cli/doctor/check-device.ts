// The ladder to a device: each rung a line, the first that fails with what to install. From the driver of a card to a
// run of a golden checkpoint on it. Runs in a process of its own; says nothing about the CPU.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Precision } from "../../vlm/convert/linear-layers.ts";
import { OnnxModel } from "../../vlm/convert/onnx-model.ts";
import {
  DECODER_PRECISIONS,
  defaultVisionPrecision,
  isDevicePrecision,
} from "../../vlm/convert/package-graphs.ts";
import { webGpuHalfFloatTrouble } from "../../vlm/engine/webgpu-half-floats.ts";
import { chooseUsualDevice } from "../../vlm/machine/device-choice.ts";
import { goldenErrors } from "../../vlm/proof/golden-errors.ts";
import { toleranceOf } from "../../vlm/proof/tolerances.ts";
import { openCuda } from "../../vlm/runtime/cuda-cards.ts";
import { type Device, deviceKind, tryDevice } from "../../vlm/runtime/device.ts";
import { Session } from "../../vlm/runtime/session.ts";
import { Value } from "../../vlm/runtime/value.ts";
import { adviceFor } from "./advice.ts";
import type { CheckContext, Finding } from "./finding.ts";

const NAMES = {
  driver: { zh: "驱动", en: "Driver" },
  version: { zh: "驱动支持的 CUDA", en: "CUDA of the driver" },
  card: { zh: "显卡", en: "Card" },
  capability: { zh: "计算能力", en: "Compute capability" },
  provider: { zh: "CUDA 组件", en: "CUDA provider" },
  libraries: { zh: "CUDA 的库", en: "CUDA libraries" },
} as const;

export async function checkDevice({ settings }: CheckContext): Promise<Finding[]> {
  if (settings.device === "cpu") return [];
  const findings: Finding[] = [];
  let device: Device;
  if (settings.device === "auto") {
    const chosen = await chooseUsualDevice();
    findings.push({ verdict: "ok", what: { zh: "设备", en: "Device" }, found: chosen.why });
    device = chosen.device;
    if (device === "cpu") return findings;
  } else {
    device = settings.device;
  }
  const what = { zh: `设备 ${device}`, en: `Device ${device}` };
  try {
    if (deviceKind(device) === "cuda") {
      await openCuda(Number(device.slice("cuda:".length)), (rung, found) =>
        findings.push({ verdict: "ok", what: NAMES[rung], found }),
      );
    }
    await tryDevice(device);
    await runOnce(device);
    findings.push({ verdict: "ok", what, found: { zh: "算得出结果", en: "computes" } });
    if (device === "webgpu") findings.push(await findHalfFloats(settings.precision));
    findings.push(await compareGolden(device));
  } catch (error) {
    const found = { zh: "不能使用", en: "cannot be used" };
    findings.push({ verdict: "fail", what, found, advice: adviceFor(error) });
  }
  return findings;
}

/** One sum. @throws when it is wrong */
async function runOnce(device: Device): Promise<void> {
  const model = new OnnxModel("sum");
  model.input("x", "f32", [4]);
  model.output("y", "f32", [4]);
  model.node("Add", "y", ["x", "x"]);
  await using session = await Session.load(model.serialize("none", "1"), { device });
  const result = new Float32Array(4);
  using x = Value.of(Float32Array.of(1, 2, 3, 4), [4]);
  using y = Value.of(result, [4]);
  await session.run({ x }, { y });
  if (String(result) !== "2,4,6,8") throw new Error(`1, 2, 3, 4 doubled were ${result}`);
}

/** Not every adapter has them; whoever asks for a precision that needs them is told what to take instead. */
export async function findHalfFloats(
  precision: Precision | undefined,
  find = webGpuHalfFloatTrouble,
): Promise<Finding> {
  const what = { zh: "16 位浮点", en: "16-bit floats" };
  const why = await find();
  if (why === undefined) {
    const found = {
      zh: "有，q4f16、w8a16 和 fp16 也可用",
      en: "there: q4f16, w8a16 and fp16 can be used too",
    };
    return { verdict: "ok", what, found };
  }
  const found = { zh: `不可用：${why}`, en: `cannot be used: ${why}` };
  if (precision === undefined || !isDevicePrecision(precision)) {
    return { verdict: "ok", what, found };
  }
  const advice = {
    zh: `这个设备没有精度 ${precision}，请用 q4 或 fp32`,
    en: `This device has no precision ${precision}. Use q4 or fp32`,
  };
  return { verdict: "fail", what, found, advice };
}

async function compareGolden(device: Device): Promise<Finding> {
  const what = { zh: "基准检查点", en: "Golden checkpoint" };
  const kind = deviceKind(device);
  const decoder = DECODER_PRECISIONS[kind][0]!;
  const precision = { decoder, vision: defaultVisionPrecision(decoder, kind) };
  const tolerance = toleranceOf(kind, decoder);
  const directory = await mkdtemp(join(tmpdir(), "napcat-vlm-doctor-"));
  try {
    const errors = await goldenErrors({ name: "tiny-tied", device, precision, directory });
    const found = `${decoder}, ${(errors.fromCpu ?? errors.relative).toExponential(1)}`;
    if (tolerance.holds(errors)) return { verdict: "ok", what, found };
    const advice = {
      zh: `这个设备算错了，不能使用。运行 napcat-vlm prove --device ${device}，把报告发到 issue`,
      en: `This device computes wrongly and must not be used. Show the report of napcat-vlm prove --device ${device} in an issue`,
    };
    return { verdict: "fail", what, found, advice };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
