// CUDA 12 or 13? In: what was asked for, the driver's version, the CUDA libraries that are there. Out: one of them and
// why, in both languages.

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { findCudaLibraries } from "../../vlm/runtime/cuda-libraries.ts";
import type { CudaMajor } from "../../vlm/runtime/provider-directory.ts";
import type { Text } from "../doctor/finding.ts";

/** Oldest drivers, by their first number. */
const DRIVER_OF: Readonly<Record<CudaMajor, number>> = { 12: 525, 13: 580 };

export interface CudaFacts {
  /** Such as "580.65.06"; undefined when no driver answers. */
  readonly driver: string | undefined;
  /** Major versions all of whose libraries are found. */
  readonly complete: readonly CudaMajor[];
}

export interface CudaChoice {
  readonly cuda: CudaMajor;
  readonly why: Text;
}

export async function readCudaFacts(directory: string): Promise<CudaFacts> {
  const complete = ([12, 13] as const).filter((major) =>
    findCudaLibraries(major, { beside: directory }).every(({ found }) => found),
  );
  return { driver: await readDriver(), complete };
}

async function readDriver(): Promise<string | undefined> {
  try {
    const asked = ["--query-gpu=driver_version", "--format=csv,noheader"];
    const { stdout } = await promisify(execFile)("nvidia-smi", asked, { timeout: 20_000 });
    return /^\d[\d.]*/m.exec(stdout)?.[0];
  } catch {
    return undefined; // Not installed, or no card.
  }
}

export function chooseCuda(
  asked: CudaMajor | undefined,
  { driver, complete }: CudaFacts,
): CudaChoice {
  if (asked !== undefined) {
    return { cuda: asked, why: { zh: "由 --cuda 指定", en: "named by --cuda" } };
  }
  if (driver === undefined) {
    return {
      cuda: 13,
      why: {
        zh: "没有找到 NVIDIA 驱动（nvidia-smi），按最新的选择",
        en: "no NVIDIA driver was found (nvidia-smi); the newest is taken",
      },
    };
  }
  if (Number.parseInt(driver, 10) < DRIVER_OF[13]) {
    return {
      cuda: 12,
      why: {
        zh: `驱动 ${driver} 低于 ${DRIVER_OF[13]}，不支持 CUDA 13`,
        en: `the driver ${driver} is older than ${DRIVER_OF[13]}, which CUDA 13 needs`,
      },
    };
  }
  if (complete.includes(12) && !complete.includes(13)) {
    return {
      cuda: 12,
      why: {
        zh: `驱动 ${driver} 两者都支持，而这里已有 CUDA 12 的库`,
        en: `the driver ${driver} takes both, and the libraries of CUDA 12 are here already`,
      },
    };
  }
  return {
    cuda: 13,
    why: { zh: `驱动 ${driver} 支持 CUDA 13`, en: `the driver ${driver} takes CUDA 13` },
  };
}

/** The driver is too old even for what was chosen. */
export function driverTooOld(cuda: CudaMajor, { driver }: CudaFacts): boolean {
  return driver !== undefined && Number.parseInt(driver, 10) < DRIVER_OF[cuda];
}
