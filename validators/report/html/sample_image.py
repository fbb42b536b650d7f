"""Turns an array of an image's shape into a PNG in a `data:` address; the standard library writes the file."""

import base64
import struct
import zlib

import numpy as np

_KINDS = {1: 0, 3: 2, 4: 6}  # channels -> PNG's colour type
_SMALLEST, _LARGEST = 8, 160  # sides, in pixels; a larger image is thinned out
_BYTE = 255


def is_image(shape: tuple[int | None, ...]) -> bool:
    """Tells whether one row of an input is taken for an image: channels last, one, three or four of them."""
    return (
        len(shape) == len("hwc") and shape[2] in _KINDS and all(side is None or side >= _SMALLEST for side in shape[:2])
    )


def png_address(image: np.ndarray) -> str:
    """Encodes the image as a PNG in a `data:` address.

    Args:
        image: (height, width, channels) of any real type. Bytes are shown as they are, all else from its smallest to
            its largest finite value; what is not finite is black.
    """
    step = -(-max(image.shape[:2]) // _LARGEST)
    pixels = _bytes(image[::step, ::step])
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + pixels[row].tobytes() for row in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, _KINDS[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    png = b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _bytes(image: np.ndarray) -> np.ndarray:
    if image.dtype == np.uint8:
        return np.ascontiguousarray(image)
    values = image.astype(np.float64)
    finite = np.isfinite(values)
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 0.0)
    with np.errstate(over="ignore"):
        span = high - low
    scaled = (values / span - low / span if span > 0 else np.zeros_like(values)) * _BYTE
    return np.where(finite, scaled, 0).round().clip(0, _BYTE).astype(np.uint8)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
