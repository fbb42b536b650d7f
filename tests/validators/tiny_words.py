"""A second network of NumPy: words and places, an LSTM, resizing, groups, several outputs; each argument is a fault."""

import numpy as np
from tiny_model import ACTIVATIONS

WORDS, PLACES, WIDTH, UNITS, CHOICES = 300, 48, 4, 3, 5
_SHAPES = {
    "words": (WORDS, WIDTH),
    "places": (PLACES, WIDTH),
    "kernel": (WIDTH, 4 * UNITS),
    "recurrent": (UNITS, 4 * UNITS),
    "bias": (4 * UNITS,),
    "transposed": (3, WIDTH, WIDTH),
    "one": (2 * WIDTH + UNITS, CHOICES),
    "two": (2 * WIDTH + UNITS, CHOICES),
    "rate": (UNITS, 1),
    "rate_bias": (1,),
    "price": (UNITS, 1),
}


def parameters():
    """Weights of the network, float32."""
    rng = np.random.default_rng(6)
    return {name: rng.normal(0, 0.6, shape).astype("float32") for name, shape in _SHAPES.items()}


def _lstm(x, p, gate):
    h = c = np.zeros((len(x), UNITS), x.dtype)
    for step in range(x.shape[1]):
        z = x[:, step] @ p["kernel"] + h @ p["recurrent"] + p["bias"]
        i, f, candidate, o = np.split(z, 4, axis=-1)
        c = ACTIVATIONS[gate](f) * c + ACTIVATIONS[gate](i) * np.tanh(candidate)
        h = ACTIVATIONS[gate](o) * np.tanh(c)
    return h


def _weight(distance, kind):
    """Of a sample at a distance: the kernels of nearest, bilinear and (Keys, a = -1/2) bicubic resizing."""
    d = np.abs(distance)
    if kind == "nearest":
        return ((distance > -0.5) & (distance <= 0.5)).astype("float64")
    if kind == "bilinear":
        return np.maximum(1 - d, 0)
    near, far = 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def _resized(x, kind):
    """Twice as many steps, half-pixel centres, the edges repeated."""
    steps = x.shape[1]
    at = (np.arange(2 * steps) + 0.5) / 2 - 0.5
    matrix = np.zeros((2 * steps, steps))
    for offset in range(-2, steps + 2):
        matrix[:, min(max(offset, 0), steps - 1)] += _weight(at - offset, kind)
    return np.einsum("ts,rsc->rtc", matrix.astype(x.dtype), x)


def _transposed(x, kernel, padding):
    full = np.zeros((len(x), 2 * x.shape[1] + 1, kernel.shape[2]), x.dtype)
    for tap in range(3):
        full[:, tap : tap + 2 * x.shape[1] : 2] += x @ kernel[tap]
    return full[:, :-1] if padding == "same" else full[:, 1:]


def _grouped(x, groups, epsilon):
    parts = x.reshape(len(x), x.shape[1], groups, -1)
    centred = parts - parts.mean(axis=(1, 3), keepdims=True)
    return (centred / np.sqrt((centred**2).mean(axis=(1, 3), keepdims=True) + x.dtype.type(epsilon))).reshape(x.shape)


def _softmax(x, *, stable):
    e = np.exp(x - x.max(axis=-1, keepdims=True) * stable)
    return e / e.sum(axis=-1, keepdims=True)


def worded(  # noqa: PLR0913 - each argument is a fault
    inputs,
    p,
    dtype="float32",
    *,
    bits="int32",
    known=WORDS,
    offset=0,
    gate="sigmoid",
    resize="bilinear",
    shift=0,
    transposed="same",
    groups=2,
    epsilon=1e-3,
    order=(0, 1),
    exchanged=False,
    last_of_equals=False,
    stable=True,
):
    """Input `ids` of [rows, steps]; outputs `left`, `right`, `odds` of [rows, 5], and three numbers a row."""
    p = {name: array.astype(dtype) for name, array in p.items()}
    ids = inputs["ids"].astype(bits).astype("int32")
    ids = np.where(ids < known, ids, 0)
    x = p["words"][ids] + p["places"][np.minimum(np.arange(ids.shape[1]) + offset, PLACES - 1)]
    h = _lstm(x, p, gate)
    y = np.roll(_resized(x, resize), shift, axis=1)
    y = _grouped(_transposed(y, p["transposed"], transposed), groups, epsilon)
    ways = y[:, 1], y[:, -2]
    x = np.concatenate([ways[order[0]], ways[order[1]], h], axis=-1)
    left, right = x @ p["one"], x @ p["two"]
    rounded = np.round(left)
    winner = CHOICES - 1 - rounded[:, ::-1].argmax(axis=-1) if last_of_equals else rounded.argmax(axis=-1)
    with np.errstate(all="ignore"):
        odds = _softmax(left * 64, stable=stable)
    left, right = (right, left) if exchanged else (left, right)
    rate = ACTIVATIONS["sigmoid"](h @ p["rate"] + p["rate_bias"] - 11)
    price = h @ p["price"] * x.dtype.type(2e5) + x.dtype.type(4e5)
    found = {"left": left, "right": right, "odds": odds, "rate": rate, "price": price}
    return found | {"winner": winner.astype("int32")}
