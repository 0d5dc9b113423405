// Does sharp load, and does it decode a picture? Runs in a process of its own.

import { loadSharp } from "../../vlm/image/sharp.ts";
import { adviceFor } from "./advice.ts";
import type { Finding } from "./finding.ts";

export async function checkPictures(): Promise<Finding> {
  const what = { zh: "图片解码", en: "Pictures" };
  try {
    const sharp = await loadSharp();
    const blank = { width: 2, height: 2, channels: 3, background: "#f00" } as const;
    const png = await sharp({ create: blank }).png().toBuffer();
    const [red] = await sharp(png).raw().toBuffer();
    const versions = `sharp ${sharp.versions.sharp}, libvips ${sharp.versions.vips}`;
    if (red === 255) return { verdict: "ok", what, found: versions };
    const advice = { zh: "重新运行 `npm ci`", en: "Run `npm ci` again." };
    const found = { zh: `${versions}：颜色解码错误`, en: `${versions}: decodes wrong colours` };
    return { verdict: "fail", what, found, advice };
  } catch (error) {
    const found = { zh: "sharp 无法加载", en: "sharp cannot be loaded" };
    return { verdict: "fail", what, found, advice: adviceFor(error) };
  }
}
