// One picture that came twice: the segments of a message in, the same without broken doubles out.
// Some servers report a picture a second time, with a link that has lost its path.

import { isQqHost } from "../images/qq-hosts.ts";
import type { ImageReference, Segment } from "./events.ts";

/** Drops a picture where the message has the same one with a link that can be followed. */
export function withoutDoubles(segments: readonly Segment[]): readonly Segment[] {
  const images = segments.flatMap((segment) => (segment.type === "image" ? [segment.image] : []));
  if (images.length < 2) return segments;
  const doubles = new Set(images.filter((image) => isDouble(image, images)));
  return segments.filter((segment) => segment.type !== "image" || !doubles.has(segment.image));
}

/** Files of the same name are one picture only where one of the links leads nowhere: names can be made up. */
function isDouble(image: ImageReference, images: readonly ImageReference[]): boolean {
  return images.some((other) => {
    if (other === image) return false;
    if (other.url !== "" && other.url === image.url) return other.index < image.index;
    const sameName = other.file !== "" && other.file.toLowerCase() === image.file.toLowerCase();
    return sameName && leads(other) && !leads(image);
  });
}

/** Does the link name a host and a picture there? `https://host.example&rkey=…` names neither. */
function leads({ url }: ImageReference): boolean {
  if (!URL.canParse(url)) return false;
  const { protocol, hostname, pathname, searchParams } = new URL(url);
  if (!/^https?:$/u.test(protocol) || !/^[\w.:[\]-]+$/u.test(hostname)) return false;
  if (!isQqHost(hostname)) return true;
  return pathname === "/download" ? searchParams.has("fileid") : pathname !== "/";
}
