// Sizes, rates and times in words. In: numbers. Out: short texts; empty where a number says nothing.

export function bytesText(bytes: number): string {
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(1)} kB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

export function rateText(bytesPerSecond: number): string {
  return bytesPerSecond > 0 ? `${bytesText(bytesPerSecond)}/s` : "";
}

/** @param seconds undefined: nobody can tell */
export function timeText(seconds: number | undefined): string {
  if (seconds === undefined || seconds <= 0) return "";
  const whole = Math.ceil(seconds);
  if (whole < 60) return `剩余 ${whole} s left`;
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  const text = hours > 0 ? `${hours} h ${minutes} min` : `${minutes} min ${whole % 60} s`;
  return `剩余 ${text} left`;
}
