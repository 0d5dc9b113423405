import { describe, expect, it } from "vitest";
import { fromCpuInfo, fromSysctl, readCpuFeatures } from "../../src/cli/cpu-features.ts";

describe("CPU features", () => {
  it("come from /proc/cpuinfo on x64", () => {
    const text = "processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_vnni amx_tile amx_int8\n";
    expect(fromCpuInfo(text)).toEqual({ names: ["AVX2", "AVX-512", "VNNI", "AMX"], known: true });
  });

  it("come from /proc/cpuinfo on arm64", () => {
    const text = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\n";
    expect(fromCpuInfo(text)).toEqual({ names: ["NEON", "DotProd", "I8MM"], known: true });
  });

  it("come from sysctl on macOS", () => {
    const intel = "machdep.cpu.features: FPU SSE4.2\nmachdep.cpu.leaf7_features: BMI1 AVX2\n";
    expect(fromSysctl(intel).names).toEqual(["AVX2"]);
    const apple =
      "hw.optional.neon: 1\nhw.optional.arm.FEAT_DotProd: 1\nhw.optional.arm.FEAT_SME: 0\n";
    expect(fromSysctl(apple).names).toEqual(["NEON", "DotProd"]);
  });

  it("are not made up where nothing is told", () => {
    expect(fromCpuInfo("nothing here")).toEqual({ names: [], known: false });
  });

  it("can be read on this machine", () => {
    expect(readCpuFeatures().names).toBeInstanceOf(Array);
  });
});
