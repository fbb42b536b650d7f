"""Computes the hashes that TensorFlow puts words into buckets with, in Python integers.

In: bytes. Out: unsigned 64-bit numbers, the same as TensorFlow's on every machine: FarmHash's Fingerprint64
(farmhashna) for `to_hash_bucket_fast` and crosses, SipHash-2-4 for `to_hash_bucket_strong`.
"""

_MASK = (1 << 64) - 1
_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F
_CAT_MULTIPLIER = 0xC6A4A7935BD1E995
_LONG, _MIDDLE, _SHORT, _TINY = 64, 32, 16, 8


def fingerprint64(text: bytes) -> int:
    """Computes FarmHash Fingerprint64 (google/farmhash, `farmhashna::Hash64`)."""
    length = len(text)
    if length <= _SHORT:
        return _up_to_16(text, length)
    if length <= _MIDDLE:
        return _up_to_32(text, length)
    if length <= _LONG:
        return _up_to_64(text, length)
    return _longer(text, length)


def fingerprint_cat64(first: int, second: int) -> int:
    """Joins two fingerprints (tensorflow/core/platform/fingerprint.h, `FingerprintCat64`)."""
    result = (first ^ _CAT_MULTIPLIER) & _MASK
    result ^= (_shift_mix((second * _CAT_MULTIPLIER) & _MASK) * _CAT_MULTIPLIER) & _MASK
    result = (result * _CAT_MULTIPLIER) & _MASK
    result = (_shift_mix(result) * _CAT_MULTIPLIER) & _MASK
    return _shift_mix(result)


def siphash24(text: bytes, key: tuple[int, int]) -> int:
    """Computes SipHash-2-4 (Aumasson and Bernstein) with a 64-bit result."""
    low, high = (half & _MASK for half in key)
    state = [low ^ 0x736F6D6570736575, high ^ 0x646F72616E646F6D, low ^ 0x6C7967656E657261, high ^ 0x7465646279746573]
    whole = len(text) - len(text) % _TINY
    blocks = [_word(text, start) for start in range(0, whole, _TINY)]
    blocks.append(int.from_bytes(text[whole:], "little") | (len(text) & 0xFF) << 56)
    for block in blocks:
        state[3] ^= block
        _sip_rounds(state, 2)
        state[0] ^= block
    state[2] ^= 0xFF
    _sip_rounds(state, 4)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _sip_rounds(state: list[int], count: int) -> None:
    a, b, c, d = state
    for _ in range(count):
        a, c = (a + b) & _MASK, (c + d) & _MASK
        b, d = _left(b, 13) ^ a, _left(d, 16) ^ c
        a = _left(a, 32)
        c, a = (c + b) & _MASK, (a + d) & _MASK
        b, d = _left(b, 17) ^ c, _left(d, 21) ^ a
        c = _left(c, 32)
    state[:] = a, b, c, d


def _left(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & _MASK


def _right(value: int, bits: int) -> int:
    return _left(value, 64 - bits)


def _word(text: bytes, start: int, size: int = 8) -> int:
    return int.from_bytes(text[start : start + size], "little")


def _shift_mix(value: int) -> int:
    return value ^ value >> 47


def _of_two(u: int, v: int, multiplier: int) -> int:
    a = ((u ^ v) * multiplier) & _MASK
    a ^= a >> 47
    b = ((v ^ a) * multiplier) & _MASK
    b ^= b >> 47
    return (b * multiplier) & _MASK


def _up_to_16(text: bytes, length: int) -> int:
    if length >= _TINY:
        multiplier = (_K2 + length * 2) & _MASK
        a = (_word(text, 0) + _K2) & _MASK
        b = _word(text, length - 8)
        c = (_right(b, 37) * multiplier + a) & _MASK
        d = ((_right(a, 25) + b) * multiplier) & _MASK
        return _of_two(c, d, multiplier)
    if length >= _TINY // 2:
        multiplier = (_K2 + length * 2) & _MASK
        return _of_two((length + (_word(text, 0, 4) << 3)) & _MASK, _word(text, length - 4, 4), multiplier)
    if length:
        y = text[0] + (text[length >> 1] << 8)
        z = length + (text[-1] << 2)
        return (_shift_mix((y * _K2 & _MASK) ^ (z * _K0 & _MASK)) * _K2) & _MASK
    return _K2


def _up_to_32(text: bytes, length: int) -> int:
    multiplier = (_K2 + length * 2) & _MASK
    a = (_word(text, 0) * _K1) & _MASK
    b = _word(text, 8)
    c = (_word(text, length - 8) * multiplier) & _MASK
    d = (_word(text, length - 16) * _K2) & _MASK
    u = (_right((a + b) & _MASK, 43) + _right(c, 30) + d) & _MASK
    v = (a + _right((b + _K2) & _MASK, 18) + c) & _MASK
    return _of_two(u, v, multiplier)


def _up_to_64(text: bytes, length: int) -> int:
    multiplier = (_K2 + length * 2) & _MASK
    a = (_word(text, 0) * _K2) & _MASK
    b = _word(text, 8)
    c = (_word(text, length - 8) * multiplier) & _MASK
    d = (_word(text, length - 16) * _K2) & _MASK
    y = (_right((a + b) & _MASK, 43) + _right(c, 30) + d) & _MASK
    z = _of_two(y, (a + _right((b + _K2) & _MASK, 18) + c) & _MASK, multiplier)
    e = (_word(text, 16) * multiplier) & _MASK
    f = _word(text, 24)
    g = ((y + _word(text, length - 32)) * multiplier) & _MASK
    h = ((z + _word(text, length - 24)) * multiplier) & _MASK
    u = (_right((e + f) & _MASK, 43) + _right(g, 30) + h) & _MASK
    v = (e + _right((f + a) & _MASK, 18) + g) & _MASK
    return _of_two(u, v, multiplier)


def _weak(text: bytes, start: int, a: int, b: int) -> tuple[int, int]:
    w, x, y, z = (_word(text, start + 8 * i) for i in range(4))
    a = (a + w) & _MASK
    b = _right((b + a + z) & _MASK, 21)
    c = a
    a = (a + x + y) & _MASK
    b = (b + _right(a, 44)) & _MASK
    return (a + z) & _MASK, (b + c) & _MASK


def _longer(text: bytes, length: int) -> int:
    seed = 81
    x = seed
    y = (seed * _K1 + 113) & _MASK
    z = (_shift_mix((y * _K2 + 113) & _MASK) * _K2) & _MASK
    v, w = (0, 0), (0, 0)
    x = (x * _K2 + _word(text, 0)) & _MASK
    end = (length - 1) // 64 * 64
    last = end + ((length - 1) & 63) - 63
    for at in range(0, end, 64):
        x = (_right((x + y + v[0] + _word(text, at + 8)) & _MASK, 37) * _K1) & _MASK
        y = (_right((y + v[1] + _word(text, at + 48)) & _MASK, 42) * _K1) & _MASK
        x ^= w[1]
        y = (y + v[0] + _word(text, at + 40)) & _MASK
        z = (_right((z + w[0]) & _MASK, 33) * _K1) & _MASK
        v = _weak(text, at, (v[1] * _K1) & _MASK, (x + w[0]) & _MASK)
        w = _weak(text, at + 32, (z + w[1]) & _MASK, (y + _word(text, at + 16)) & _MASK)
        z, x = x, z
    multiplier = (_K1 + ((z & 0xFF) << 1)) & _MASK
    w = ((w[0] + ((length - 1) & 63)) & _MASK, w[1])
    v = ((v[0] + w[0]) & _MASK, v[1])
    w = ((w[0] + v[0]) & _MASK, w[1])
    x = (_right((x + y + v[0] + _word(text, last + 8)) & _MASK, 37) * multiplier) & _MASK
    y = (_right((y + v[1] + _word(text, last + 48)) & _MASK, 42) * multiplier) & _MASK
    x ^= (w[1] * 9) & _MASK
    y = (y + v[0] * 9 + _word(text, last + 40)) & _MASK
    z = (_right((z + w[0]) & _MASK, 33) * multiplier) & _MASK
    v = _weak(text, last, (v[1] * multiplier) & _MASK, (x + w[0]) & _MASK)
    w = _weak(text, last + 32, (z + w[1]) & _MASK, (y + _word(text, last + 16)) & _MASK)
    z, x = x, z
    return _of_two(
        (_of_two(v[0], w[0], multiplier) + _shift_mix(y) * _K0 + z) & _MASK,
        (_of_two(v[1], w[1], multiplier) + x) & _MASK,
        multiplier,
    )
