// Where nobody listens. A port that a server had a moment ago may be another process's by now; no system hands out this one.

export const NOBODY = "127.0.0.1:2";
