// The formats of strings that can be kept, as patterns. They allow a little less than the standards where those need
// arithmetic, the 29th of February and leap seconds, and times are in UTC.

const MONTH_AND_DAY =
  "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[0-8]))";
const DATE = `\\d{4}-${MONTH_AND_DAY}`;
const TIME = "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,9})?Z";
const BYTE = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const NAME = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,20}[A-Za-z0-9])?";

/** Name of the format, and the pattern of the whole string. */
export const FORMATS: ReadonlyMap<string, string> = new Map([
  ["date", `^${DATE}$`],
  ["time", `^${TIME}$`],
  ["date-time", `^${DATE}T${TIME}$`],
  [
    "uuid",
    "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-8][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}$",
  ],
  ["ipv4", `^(?:${BYTE}\\.){3}${BYTE}$`],
  [
    "email",
    `^[A-Za-z0-9_-]{1,20}(?:\\.[A-Za-z0-9_-]{1,20}){0,3}@(?:${NAME}\\.){1,3}[A-Za-z]{2,10}$`,
  ],
  ["hostname", `^${NAME}(?:\\.${NAME}){0,3}$`],
  ["uri", "^https?://[A-Za-z0-9](?:[A-Za-z0-9.-]{0,60}[A-Za-z0-9])?(?:/[A-Za-z0-9._~/-]*)?$"],
]);
