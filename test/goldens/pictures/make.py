"""Writes the small pictures beside this file, and what Pillow makes of each as SHA-256 of its RGB bytes.

Run here with Pillow 9.4.0 and NumPy: python3 make.py
"rgb": exif_transpose, then convert("RGB"), as the Hugging Face loader does (alpha dropped).
"white": pasted over white by its alpha, as qwen-vl-utils does.
"""

import hashlib
import json

import numpy as np
import PIL
from PIL import Image, ImageOps

HEIGHT, WIDTH = 22, 37
rng = np.random.RandomState(7)
y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
ramp = np.stack([(x * 7) % 256, (y * 11) % 256, ((x + y) * 4) % 256], -1)
mixed = ((ramp * 3 + rng.randint(0, 256, ramp.shape)) // 4).astype(np.uint8)
fourth = rng.randint(0, 256, (HEIGHT, WIDTH, 1)).astype(np.uint8)
rgb = Image.fromarray(mixed)
rgba = Image.fromarray(np.concatenate([mixed, fourth], -1), "RGBA")
cmyk = Image.fromarray(np.concatenate([mixed, fourth], -1), "CMYK")
other = Image.fromarray(255 - mixed)
files = {}


def digest(image):
    return hashlib.sha256(np.asarray(image).tobytes()).hexdigest()


def save(name, image, **options):
    image.save(name, **options)
    read = ImageOps.exif_transpose(Image.open(name))
    entry = {"width": read.width, "height": read.height, "rgb": digest(read.convert("RGB"))}
    if read.mode in ("RGBA", "LA") or "transparency" in read.info:
        over = read.convert("RGBA")
        paper = Image.new("RGB", over.size, (255, 255, 255))
        paper.paste(over, mask=over.split()[3])
        entry["white"] = digest(paper)
    files[name] = entry


for subsampling in (0, 1, 2):
    save(f"subsampling-{subsampling}.jpg", rgb, quality=85, subsampling=subsampling)
save("progressive.jpg", rgb, quality=80, progressive=True)
save("grey.jpg", rgb.convert("L"), quality=80)
save("cmyk.jpg", cmyk, quality=90)
save("two-pictures.mpo", rgb, quality=80, save_all=True, append_images=[other])
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(f"orientation-{orientation}.jpg", rgb, quality=85, exif=exif.tobytes())
save("rgb.png", rgb)
save("grey.png", rgb.convert("L"))
save("one-bit.png", rgb.convert("1"))
save("grey-alpha.png", rgba.convert("LA"))
save("rgba.png", rgba)
save("palette.png", rgb.quantize(37))
save("palette-4-bit.png", rgb.quantize(9), bits=4)
save("palette-transparent.png", rgb.quantize(37), transparency=3)
save("animated.png", rgb, save_all=True, append_images=[other])
save("animated.gif", rgb.quantize(64), save_all=True, append_images=[other.quantize(64)])
save("transparent.gif", rgb.quantize(37), transparency=3)
save("lossy.webp", rgb, quality=75)
save("lossless-alpha.webp", rgba, lossless=True, exact=True)
save("animated.webp", rgb, lossless=True, save_all=True, append_images=[other])
save("24-bit.bmp", rgb)
save("palette.bmp", rgb.quantize(40))
save("grey.bmp", rgb.convert("L"))
save("one-bit.bmp", rgb.convert("1"))
save("32-bit.bmp", rgba)

with open("expected.json", "w") as out:
    json.dump({"source": f"Pillow {PIL.__version__}, make.py in this folder", "files": files}, out, indent=1)
    out.write("\n")
