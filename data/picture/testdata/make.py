"""Makes the pictures that the tests read, and what Pillow shows of them.

Run: python make.py (in this folder; Pillow 13, numpy). Each picture NAME gets NAME.rgba, the bytes
that Pillow shows: upright, straight alpha. expect.txt has a line for each:

    NAME FORMAT WIDTH HEIGHT GRAY TOLERANCE

TOLERANCE is the largest difference of a value. It is 0 where nothing is lost, unless the reason stands
beside the picture. Pillow writes neither Adam7 nor tiles nor broken EXIF; those are built by hand.
"""

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

W, H = 23, 17  # odd, so that rows and blocks need padding
T = Image.Transpose
STORED = {1: None, 2: T.FLIP_LEFT_RIGHT, 3: T.ROTATE_180, 4: T.FLIP_TOP_BOTTOM, 5: T.TRANSPOSE, 6: T.ROTATE_90,
          7: T.TRANSVERSE, 8: T.ROTATE_270}
lines = []

y, x = np.mgrid[0:H, 0:W]
COLOURS = np.stack([40 + 8 * x, 30 + 11 * y, 200 - 3 * x - 4 * y], 2).astype(np.uint8)
COLOURS[2:6, 3:9] //= 3  # no symmetry
GRAY = (20 + 6 * x + 5 * y).astype(np.uint8)
GRAY[2:6, 3:9] = 0
GRAY[12:, 19:] = 255
ALPHA = np.clip(255 - 14 * x + 3 * y, 0, 255).astype(np.uint8)
RGBA = np.dstack([COLOURS, ALPHA])
colours, gray, rgba = Image.fromarray(COLOURS), Image.fromarray(GRAY), Image.fromarray(RGBA)
palette = colours.quantize(16)
grays = gray.convert("P")  # its palette is 0, 1, 2, ...


def put(name, data, tolerance=0, is_gray=False, shown=None):
    """Writes a picture and what is shown of it: Pillow's view, or that of an image or array."""
    with open(name, "wb") as f:
        f.write(data)
    with Image.open(io.BytesIO(data)) as img:
        kind = {"WEBP": "WebP", "MPO": "JPEG"}.get(img.format, img.format)
        if shown is None:
            shown = ImageOps.exif_transpose(img)
        elif not isinstance(shown, Image.Image):
            shown = Image.fromarray(shown)
        shown = shown.convert("RGBA")
    with open(name + ".rgba", "wb") as f:
        f.write(shown.tobytes())
    lines.append(f"{name} {kind} {shown.width} {shown.height} {str(is_gray).lower()} {tolerance}\n")


def saved(img, kind, **options):
    b = io.BytesIO()
    img.save(b, kind, **options)
    return b.getvalue()


def exif(orientation, order="<"):
    """EXIF with an orientation only, in either byte order."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(order + "IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)


def turned(img, orientation):
    return img if orientation == 1 else img.transpose(STORED[orientation])


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def adam7(pixels, kind, bits=8):
    """An interlaced PNG."""
    h, w = pixels.shape[:2]
    raw = b""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    for x0, y0, dx, dy in passes:
        part = pixels[y0::dy, x0::dx]
        if part.size:
            raw += b"".join(b"\0" + row.tobytes() for row in part)
    return png(raw, w, h, kind, bits, 1)


def png(raw, w, h, kind, bits, interlace=0, extra=b""):
    head = struct.pack(">IIBBBBB", w, h, bits, kind, 0, 0, interlace)
    pixels = chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + pixels


def rows(pixels):
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def make_png():
    put("rgb.png", saved(colours, "PNG"))
    put("rgba.png", saved(rgba, "PNG"))
    put("gray.png", saved(gray, "PNG"), is_gray=True)
    put("gray-alpha.png", saved(Image.merge("LA", [gray, Image.fromarray(ALPHA)]), "PNG"), is_gray=True)
    put("palette.png", saved(palette, "PNG", bits=4))
    put("palette-gray.png", saved(grays, "PNG"), is_gray=True)
    put("palette-transparent.png", saved(palette, "PNG", transparency=bytes(range(0, 256, 16))))
    put("bits1.png", saved(gray.point(lambda v: 255 * (v > 99)).convert("1"), "PNG"), is_gray=True)
    put("interlaced.png", adam7(COLOURS, 2))
    deep = COLOURS.astype(np.uint16) * 256 + 77  # the upper byte is shown
    put("rgb16.png", png(rows(deep.astype(">u2")), W, H, 2, 16), shown=COLOURS)
    put("interlaced16.png", adam7(np.dstack([deep, ALPHA.astype(np.uint16) * 257]).astype(">u2"), 6, 16), shown=RGBA)
    deep = np.dstack([GRAY, ALPHA]).astype(np.uint16) * 257
    put("gray-alpha16.png", png(rows(deep.astype(">u2")), W, H, 4, 16), is_gray=True,
        shown=np.dstack([GRAY, GRAY, GRAY, ALPHA]))
    put("orient6.png", saved(turned(colours, 6), "PNG", exif=exif(6)))
    prefix = chunk(b"eXIf", b"Exif\0\0" + exif(8, ">"))
    put("orient8-prefix.png", png(rows(np.asarray(turned(colours, 8))), H, W, 2, 8, extra=prefix))
    late = saved(turned(colours, 5), "PNG")
    put("orient5-behind.png", late[:-12] + chunk(b"eXIf", exif(5)) + late[-12:], shown=colours)
    put("animated.png", saved(rgba, "PNG", save_all=True, append_images=[rgba.transpose(T.ROTATE_180)]), shown=rgba)


def make_jpeg():
    # Decoders round their transforms and the change of colours on their own: 2 for each, for a value.
    full = dict(quality=95, subsampling=0)
    put("gray.jpg", saved(gray, "JPEG", quality=95), 2, is_gray=True)
    put("rgb.jpg", saved(colours, "JPEG", **full), 4)
    put("progressive.jpg", saved(colours, "JPEG", progressive=True, **full), 4)
    # Pillow interpolates colours that four pixels share, Go does not: the slopes differ by up to 11
    # between two pixels, the dark spot's edge by far more. Its colours are a spot of gray here.
    soft = COLOURS.copy()
    soft[2:6, 3:9] = COLOURS[6, 3]
    put("subsampled.jpg", saved(Image.fromarray(soft), "JPEG", quality=95, subsampling=2), 40)
    for o in range(1, 9):
        mark = exif(o, "<>"[o % 2])
        put(f"orient{o}.jpg", saved(turned(colours, o), "JPEG", exif=mark, **full), 4)
    plain = saved(turned(colours, 6), "JPEG", **full)

    def app1(data):
        return b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data
    xmp = app1(b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
    put("orient6-behind-xmp.jpg", plain[:2] + xmp + app1(b"Exif\0\0" + exif(6)) + plain[2:], 4)
    upright = saved(colours, "JPEG", **full)
    for name, block in {
        "cut": exif(6)[:15], "offset": b"II*\0\xff\xff\xff\xff", "absurd": exif(77), "zero": exif(0),
        "many": b"II*\0" + struct.pack("<IH", 8, 65535) + bytes(100), "order": b"XX*\0" + exif(6)[4:],
    }.items():
        data = upright[:2] + app1(b"Exif\0\0" + block) + upright[2:]
        put(f"exif-{name}.jpg", data, 4, shown=Image.open(io.BytesIO(upright)))
    put("trailer.jpg", upright + bytes(50) + b"a camera's own data", 4)
    # A camera leaves out the end marker. Pillow shows such a file only if it is allowed to.
    put("no-end.jpg", upright[:-2], 4, shown=Image.open(io.BytesIO(upright)))
    cmyk = colours.convert("CMYK")
    adobe = saved(cmyk, "JPEG", **full)
    i = adobe.index(b"\xff\xee")
    n = 2 + struct.unpack(">H", adobe[i + 2:i + 4])[0]
    put("cmyk.jpg", adobe, 4)
    put("cmyk-no-marker.jpg", adobe[:i] + adobe[i + n:], 4)
    # YCCK: the same transform as of YCbCr, over inverted values.
    ycck = adobe[:i] + adobe[i:i + n - 1] + b"\x02" + adobe[i + n:]
    put("ycck.jpg", ycck, 4)


def gif(canvas, place, pixels, colour_table, transparent=None, interlace=0):
    """A GIF whose only frame lies at place. Pillow makes the LZW codes."""
    frame = Image.frombytes("P", (pixels.shape[1], pixels.shape[0]), pixels.tobytes())
    frame.putpalette(colour_table)
    raw = saved(frame, "GIF", optimize=False, interlace=interlace)
    data = raw[raw.index(b"\x2c", 13 + 768):]
    b = b"GIF89a" + struct.pack("<HHBBB", *canvas, 0xF7, 7, 0) + colour_table  # 7: a background that viewers ignore
    if transparent is not None:
        b += b"\x21\xf9\x04" + bytes([1, 10, 0, transparent, 0])
    head = struct.pack("<HHHHB", *place, pixels.shape[1], pixels.shape[0], 0x40 * interlace)
    return b + b"\x2c" + head + data[10:-1] + b"\x3b"


def make_gif():
    table = bytes(v for i in range(256) for v in (i, 255 - i, i // 2))
    linear = bytes(v for i in range(256) for v in (i, i, i))
    part = np.ascontiguousarray(GRAY[3:13, 5:20])
    put("full.gif", gif((W, H), (0, 0), GRAY, table))
    put("interlaced.gif", gif((W, H), (0, 0), GRAY, table, interlace=1))
    put("gray.gif", gif((W, H), (0, 0), GRAY, linear), is_gray=True)
    put("part.gif", gif((W, H), (5, 3), part, table))
    put("part-transparent.gif", gif((W, H), (5, 3), part, table, transparent=9))
    put("canvas0.gif", gif((0, 0), (0, 0), GRAY, table))
    put("canvas-small.gif", gif((4, 15), (5, 3), part, table))
    local = gif((W, H), (0, 0), GRAY, linear)
    at = local.index(b"\x2c", 13 + 768)
    put("local-palette.gif", local[:at + 9] + b"\x87" + table + local[at + 10:])
    put("animated.gif", saved(rgba.quantize(8), "GIF", save_all=True, append_images=[palette]))


def make_bmp():
    put("rgb.bmp", saved(colours, "BMP"))
    put("gray.bmp", saved(gray, "BMP"), is_gray=True)
    put("palette.bmp", saved(palette, "BMP"))
    put("bits1.bmp", saved(gray.point(lambda v: 255 * (v > 99)).convert("1"), "BMP"), is_gray=True)
    raw = saved(colours, "BMP")
    down = raw[:22] + struct.pack("<i", -H) + raw[26:]
    put("top-down.bmp", down)
    put("alpha.bmp", bmp_alpha())


def bmp_alpha():
    """32 bits with alpha: a BITMAPV4HEADER, whose masks are those of no compression."""
    pixels = RGBA[::-1][..., [2, 1, 0, 3]].tobytes()
    head = struct.pack("<IiiHHIIiiII", 108, W, H, 1, 32, 3, len(pixels), 2835, 2835, 0, 0)
    head += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + bytes(52)
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(pixels), 0, 0, 14 + len(head)) + head + pixels


def riff(*chunks):
    body = b"".join(k + struct.pack("<I", len(d)) + d + bytes(len(d) % 2) for k, d in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def riff_chunks(data):
    at = 12
    while at < len(data):
        n = struct.unpack("<I", data[at + 4:at + 8])[0]
        yield data[at:at + 4], data[at + 8:at + 8 + n]
        at += 8 + n + n % 2


def make_webp():
    put("lossless.webp", saved(colours, "WEBP", lossless=True))
    put("lossless-alpha.webp", saved(rgba, "WEBP", lossless=True, exact=True))
    # libwebp rounds as this package does, as far as no two pixels have different colours.
    put("lossy-gray.webp", saved(gray, "WEBP", quality=90), 0)
    # See subsampled.jpg.
    soft = RGBA.copy()
    soft[2:6, 3:9] = RGBA[6, 3]
    put("lossy.webp", saved(Image.fromarray(soft[..., :3]), "WEBP", quality=90), 40)
    put("lossy-alpha.webp", saved(Image.fromarray(soft), "WEBP", quality=90, exact=True), 40)
    put("orient6-lossless-alpha.webp", saved(turned(rgba, 6), "WEBP", lossless=True, exact=True, exif=exif(6)))
    put("orient7-lossless.webp", saved(turned(colours, 7), "WEBP", lossless=True, exif=b"Exif\0\0" + exif(7)))
    parts = dict(riff_chunks(saved(turned(colours, 8), "WEBP", lossless=True, exif=exif(8))))
    odd = [(b"VP8X", parts[b"VP8X"]), (b"ODD ", b"123"), (b"VP8L", parts[b"VP8L"]), (b"EXIF", parts[b"EXIF"])]
    put("orient8-odd.webp", riff(*odd))
    with open("animated.webp", "wb") as f:  # not read
        f.write(saved(colours, "WEBP", save_all=True, append_images=[colours.transpose(T.ROTATE_180)], lossless=True))


def tiff(order, tags, data, at=8):
    """A TIFF file of one directory. A value of tags is a number, {"data": offset in data}, or a list of them."""
    body = b""
    start = at + 2 + 12 * len(tags) + 4
    extra = b""
    for tag, value in sorted(tags.items()):
        values = value if isinstance(value, list) else [value]
        values = [start + v["data"] if isinstance(v, dict) else v for v in values]
        packed = struct.pack(order + "I" * len(values), *values)
        if len(values) > 1:
            where = start + len(data) + len(extra)
            extra += packed
            packed = struct.pack(order + "I", where)
        body += struct.pack(order + "HHI", tag, 4, len(values)) + packed
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(order + "I", at) + struct.pack(order + "H", len(tags)) + body + bytes(4) + data + extra


def tiled(pixels, order, photometric, bits):
    """Tiles of 16x16 pixels that hang over the edge."""
    h, w = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    padding = [(0, -h % 16), (0, -w % 16)] + [(0, 0)] * (pixels.ndim - 2)
    padded = np.pad(pixels, padding, constant_values=99).astype({8: "u1", 16: order + "u2"}[bits])
    data, places, counts = b"", [], []
    for ty in range(0, padded.shape[0], 16):
        for tx in range(0, padded.shape[1], 16):
            tile = zlib.compress(np.ascontiguousarray(padded[ty:ty + 16, tx:tx + 16]).tobytes())
            places.append({"data": len(data)})
            counts.append(len(tile))
            data += tile
    depths = [bits] * channels if channels > 1 else bits
    tags = {256: w, 257: h, 258: depths, 259: 8, 262: photometric, 277: channels, 322: 16, 323: 16, 324: places,
            325: counts}
    return tiff(order, tags, data)


def make_tiff():
    compressions = {"raw": "raw", "lzw": "tiff_lzw", "deflate": "tiff_adobe_deflate", "packbits": "packbits"}
    for name, compression in compressions.items():
        put(f"{name}.tif", saved(colours, "TIFF", compression=compression))
    put("predictor.tif", saved(colours, "TIFF", compression="tiff_lzw", tiffinfo={317: 2}))
    put("gray.tif", saved(gray, "TIFF", compression="tiff_lzw"), is_gray=True)
    put("alpha.tif", saved(rgba, "TIFF", compression="tiff_lzw"))
    put("palette.tif", saved(palette, "TIFF"))
    fax = gray.point(lambda v: 255 * (v > 99)).convert("1")
    put("fax3.tif", saved(fax, "TIFF", compression="group3"), is_gray=True)
    put("fax4.tif", saved(fax, "TIFF", compression="group4"), is_gray=True)
    put("fax4-white.tif", saved(fax, "TIFF", compression="group4", tiffinfo={262: 0}), is_gray=True)
    deep = Image.fromarray(GRAY.astype(np.uint16) * 257)
    put("gray16.tif", saved(deep, "TIFF"), is_gray=True, shown=GRAY)
    for o in (3, 6):
        data = saved(turned(colours, o), "TIFF", compression="tiff_lzw", tiffinfo={274: o})
        put(f"orient{o}.tif", data, shown=colours)
    put("tiles.tif", tiled(COLOURS, "<", 2, 8))
    put("tiles-gray.tif", tiled(GRAY, ">", 1, 8), is_gray=True)
    put("tiles-rgb16.tif", tiled(COLOURS.astype(np.uint16) * 257, ">", 2, 16), shown=COLOURS)
    strip = {256: W, 257: H, 258: 8, 262: 1, 277: 1, 273: {"data": 0}, 278: 2**32 - 1}
    packed = zlib.compress(GRAY.tobytes())
    put("one-strip.tif", tiff("<", strip | {259: 8, 279: len(packed)}, packed), is_gray=True)


make_png()
make_jpeg()
make_gif()
make_bmp()
make_webp()
make_tiff()
with open("expect.txt", "w") as f:
    f.writelines(lines)
