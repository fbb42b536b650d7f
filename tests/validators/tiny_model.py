"""A network of a few lines of NumPy, with every way to go wrong as an argument: planted faults without TensorFlow."""

import math

import numpy as np

STEPS, CHANNELS, HIDDEN, CLASSES = 8, 3, 6, 4
_SHAPES = {
    "filter": (3, CHANNELS, HIDDEN),
    "gamma": (HIDDEN,),
    "beta": (HIDDEN,),
    "mean": (HIDDEN,),
    "variance": (HIDDEN,),
    "query": (HIDDEN, HIDDEN),
    "key": (HIDDEN, HIDDEN),
    "dense": (HIDDEN, HIDDEN),
    "dense_bias": (HIDDEN,),
    "gate": (HIDDEN, HIDDEN),
    "head": (HIDDEN, CLASSES),
    "head_bias": (CLASSES,),
}


def parameters():
    """Weights of the network, float32."""
    rng = np.random.default_rng(5)
    made = {name: rng.normal(0, 0.6, shape).astype("float32") for name, shape in _SHAPES.items()}
    for name in ("gamma", "variance"):
        made[name] = rng.uniform(0.5, 1.5, HIDDEN).astype("float32")
    return made


def _erf(x):
    return np.vectorize(math.erf, otypes=[x.dtype])(x)


def _softmax(x, axis):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


ACTIVATIONS = {
    "relu6": lambda x: np.clip(x, 0, 6),
    "relu": lambda x: np.maximum(x, 0),
    "leaky": lambda x: np.where(x > 0, x, x * x.dtype.type(0.3)),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "gelu": lambda x: x * (1 + _erf(x / x.dtype.type(math.sqrt(2)))) / 2,
    "gelu by tanh": lambda x: x * (1 + np.tanh(x.dtype.type(0.7978845608) * (x + x.dtype.type(0.044715) * x**3))) / 2,
    "swish": lambda x: x * _sigmoid(x),
    "hard swish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "sigmoid": _sigmoid,
    "hard sigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "tanh": np.tanh,
}


def _convolve(x, kernel, padding, dilation):
    reach = dilation * (len(kernel) - 1)
    before = {"same": reach // 2, "causal": reach, "shifted": 0}[padding]
    padded = np.pad(x, ((0, 0), (before, reach - before), (0, 0)))
    return sum(padded[:, i * dilation : i * dilation + x.shape[1]] @ kernel[i] for i in range(len(kernel)))


def _pooled(x, pool, phase):
    windows = np.roll(x, -phase, axis=1)
    pairs = windows[:, : x.shape[1] // 2 * 2].reshape(len(x), -1, 2, x.shape[2])
    return pairs.max(axis=2) if pool == "max" else pairs.mean(axis=2)


def _attended(x, p, *, root, axis, masked):
    scores = (x @ p["query"]) @ (x @ p["key"]).transpose(0, 2, 1)
    scores = scores / x.dtype.type(math.sqrt(HIDDEN) if root else 1)
    if masked:
        scores = scores - np.asarray([0, 0, 0, 1e4], x.dtype)
    return _softmax(scores, axis) @ x


def _normalized(x, epsilon):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + x.dtype.type(epsilon))


def _recurrent(x, p, *, backwards, gate, last):
    state, states = np.zeros_like(x[:, 0]), []
    for step in range(x.shape[1])[:: -1 if backwards else 1]:
        mix = ACTIVATIONS[gate](state @ p["gate"])
        state = mix * np.tanh(x[:, step]) + (1 - mix) * state
        states.append(state)
    return states[-1 if last else -2]


def tiny(  # noqa: PLR0913 - each argument is a fault
    inputs,
    p,
    dtype="float32",
    *,
    scale=1 / 2,
    flip=False,
    padding="same",
    dilation=1,
    epsilon=1e-3,
    first="relu6",
    bend="relu",
    residual=True,
    pool="max",
    phase=0,
    root=True,
    axis=-1,
    masked=True,
    second="gelu",
    layer_epsilon=1e-3,
    backwards=False,
    gate="sigmoid",
    last=True,
    final_axis=-1,
    decimals=0.5,
    downwards=True,
    exchanged=False,
    bound=2.0,
):
    """Inputs `left` and `right` of [rows, 8, 3]; outputs `odds` [rows, 4] and `level`, a whole number for each row."""
    p = {name: array.astype(dtype) for name, array in p.items()}
    left, right = inputs["left"].astype(dtype), inputs["right"].astype(dtype)
    if exchanged:
        left, right = right, left
    x = (left - right / 2) * np.asarray(scale, dtype)
    x = np.clip(x[..., ::-1] if flip else x, -bound, bound)
    y = _convolve(x, p["filter"], padding, dilation)
    inverse = p["gamma"] / np.sqrt(p["variance"] + np.asarray(epsilon, dtype))
    y = ACTIVATIONS[first](y * 3 * inverse + (p["beta"] - p["mean"] * inverse))
    y = ACTIVATIONS[bend](_pooled(y, pool, phase) * 2)
    a = _attended(y, p, root=root, axis=axis, masked=masked)
    y = y + a if residual else a
    y = _normalized(y, layer_epsilon)
    y = ACTIVATIONS[second](y @ p["dense"] + p["dense_bias"])
    y = _recurrent(y, p, backwards=backwards, gate=gate, last=last)
    logits = y @ p["head"] + p["head_bias"]
    level = logits[:, 0] * 10 + np.asarray(decimals, dtype)
    level = (np.floor(level) if downwards else level).astype("int32")
    return {"odds": _softmax(logits, final_axis), "level": level}


def reordered(inputs, p):
    """The same network as another runtime computes it: the normalization folded, every sum in another order."""
    q = dict(p)
    swap = np.random.default_rng(3).permutation(HIDDEN)
    for name in ("filter", "gamma", "beta", "mean", "variance"):
        q[name] = p[name][..., swap]
    q["query"], q["key"], q["dense"] = p["query"][swap], p["key"][swap], p["dense"][swap]
    return tiny(inputs, q)
