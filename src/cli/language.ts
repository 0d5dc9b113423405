// The language of a report: Chinese or English, as asked for or as this computer speaks.

export type Language = "zh" | "en";

/** `zh` where the locale is Chinese, else `en`. */
export function systemLanguage(
  locale: string = Intl.DateTimeFormat().resolvedOptions().locale,
): Language {
  return /^zh\b/i.test(locale) ? "zh" : "en";
}
