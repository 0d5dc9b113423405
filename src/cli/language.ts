// The language of a report: Chinese or English, as asked for or as this computer speaks.

export type Language = "zh" | "en";

/**
 * `zh` where the locale is Chinese, else `en`. The first variable that says something decides, as POSIX has it: one that
 * is set to nothing says nothing. Windows has none of them.
 */
export function systemLanguage(
  env: NodeJS.ProcessEnv = process.env,
  locale: string = Intl.DateTimeFormat().resolvedOptions().locale,
): Language {
  const named = env.LC_ALL || env.LC_MESSAGES || env.LANG || locale;
  return /^zh\b|^zh_/i.test(named) ? "zh" : "en";
}
