// The part of ONNX Runtime's C API that is used here: position of each function in the OrtApi table and its parameters.
// The table only ever grows, so a position never changes. Source: onnxruntime_c_api.h.

/** Version of the OrtApi table that is asked for; every function below is older. */
export const ORT_API_VERSION = 24;

/** Parameter kinds: `address` takes a handle, an array of JavaScript that outlives the call, or null. */
export type Parameter = "address" | "text" | "path" | "int" | "size";

/** Functions that return a status: `null`, or an object that says what went wrong. */
export const STATUS_FUNCTIONS = {
  CreateEnv: [3, ["int", "text", "address"]],
  DisableTelemetryEvents: [6, ["address"]],
  CreateSession: [7, ["address", "path", "address", "address"]],
  CreateSessionFromArray: [8, ["address", "address", "size", "address", "address"]],
  Run: [9, ["address", "address", "address", "address", "size", "address", "size", "address"]],
  CreateSessionOptions: [10, ["address"]],
  EnableCpuMemArena: [18, ["address"]],
  DisableCpuMemArena: [19, ["address"]],
  SetSessionLogSeverityLevel: [22, ["address", "int"]],
  SetSessionGraphOptimizationLevel: [23, ["address", "int"]],
  SetIntraOpNumThreads: [24, ["address", "int"]],
  SessionGetInputCount: [30, ["address", "address"]],
  SessionGetOutputCount: [31, ["address", "address"]],
  SessionGetOverridableInitializerCount: [32, ["address", "address"]],
  SessionGetInputTypeInfo: [33, ["address", "size", "address"]],
  SessionGetOutputTypeInfo: [34, ["address", "size", "address"]],
  SessionGetOverridableInitializerTypeInfo: [35, ["address", "size", "address"]],
  SessionGetInputName: [36, ["address", "size", "address", "address"]],
  SessionGetOutputName: [37, ["address", "size", "address", "address"]],
  SessionGetOverridableInitializerName: [38, ["address", "size", "address", "address"]],
  CreateRunOptions: [39, ["address"]],
  RunOptionsSetRunLogSeverityLevel: [41, ["address", "int"]],
  RunOptionsSetTerminate: [46, ["address"]],
  CreateTensorAsOrtValue: [48, ["address", "address", "size", "int", "address"]],
  CreateTensorWithDataAsOrtValue: [
    49,
    ["address", "address", "size", "address", "size", "int", "address"],
  ],
  GetTensorMutableData: [51, ["address", "address"]],
  CastTypeInfoToTensorInfo: [55, ["address", "address"]],
  GetTensorElementType: [60, ["address", "address"]],
  GetDimensionsCount: [61, ["address", "address"]],
  GetDimensions: [62, ["address", "address", "size"]],
  GetSymbolicDimensions: [63, ["address", "address", "size"]],
  CreateMemoryInfo: [68, ["text", "int", "int", "int", "address"]],
  AllocatorFree: [76, ["address", "address"]],
  GetAllocatorWithDefaultOptions: [78, ["address"]],
  GetAvailableProviders: [125, ["address", "address"]],
  ReleaseAvailableProviders: [126, ["address", "int"]],
  AddInitializer: [150, ["address", "text", "address"]],
  AddRunConfigEntry: [165, ["address", "text", "text"]],
  AddSessionConfigEntry: [130, ["address", "text", "text"]],
  CreateAllocator: [131, ["address", "address", "address"]],
  SessionOptionsAppendExecutionProvider_CUDA_V2: [204, ["address", "address"]],
  CreateCUDAProviderOptions: [205, ["address"]],
  UpdateCUDAProviderOptions: [206, ["address", "address", "address", "size"]],
  AddExternalInitializers: [210, ["address", "address", "address", "size"]],
  SessionOptionsAppendExecutionProvider: [216, ["address", "text", "address", "address", "size"]],
  UpdateCUDAProviderOptionsWithValue: [263, ["address", "text", "address"]],
  RegisterExecutionProviderLibrary: [301, ["address", "text", "path"]],
  GetEpDevices: [303, ["address", "address", "address"]],
  SessionOptionsAppendExecutionProvider_V2: [
    304,
    ["address", "address", "address", "size", "address", "address", "size"],
  ],
  CopyTensors: [386, ["address", "address", "address", "address", "size"]],
  SessionOptionsSetLoadCancellationFlag: [293, ["address", "int"]],
} as const satisfies Record<string, readonly [number, readonly Parameter[]]>;

/** Functions that free the object they are given and return nothing. */
export const RELEASE_FUNCTIONS = {
  ReleaseEnv: 92,
  ReleaseMemoryInfo: 94,
  ReleaseSession: 95,
  ReleaseValue: 96,
  ReleaseRunOptions: 97,
  ReleaseTypeInfo: 98,
  ReleaseSessionOptions: 100,
  ReleaseAllocator: 132,
  ReleaseCUDAProviderOptions: 208,
} as const;

/** Functions that return a text of the object they are given. */
export const TEXT_FUNCTIONS = { EpDevice_EpName: 312 } as const;

/** Functions that return pairs of texts of the object they are given; they belong to it. */
export const PAIRS_FUNCTIONS = { EpDevice_EpMetadata: 314 } as const;
export const GET_KEY_VALUE = 297;

export const GET_ERROR_CODE = 1;
export const GET_ERROR_MESSAGE = 2;
export const RELEASE_STATUS = 93;

export type StatusFunction = keyof typeof STATUS_FUNCTIONS;
export type ReleaseFunction = keyof typeof RELEASE_FUNCTIONS;
export type PairsFunction = keyof typeof PAIRS_FUNCTIONS;
export type TextFunction = keyof typeof TEXT_FUNCTIONS;
