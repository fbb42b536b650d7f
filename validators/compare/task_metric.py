"""Measures a model by the user's own metric, over samples that have labels.

In: labels and a model's outputs over the same rows. Out: one number, larger is better: accuracy where labels and an
output fit each other, or what the user's function returns. It shows how much of a difference the user would notice.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np

from exporters.errors import BadInput
from exporters.source.keras.user_code import import_user_module
from validators.contract import Tensors

ACCURACY = "accuracy"
_MATRIX = 2
Metric = Callable[[np.ndarray, Tensors], float]


def fitting(labels: np.ndarray, outputs: Tensors) -> str:
    """Returns the one output that accuracy can be computed from; empty where there is none, or more than one."""
    fit = [name for name, array in outputs.items() if _right(labels, array) is not None]
    return fit[0] if len(fit) == 1 else ""


def accuracy(labels: np.ndarray, output: np.ndarray) -> float:
    """Computes the share of rows whose decision is the label.

    Classes are decided by the largest entry of the last axis; a single number by one half where all lie between zero
    and one, else by its sign; whole numbers are decisions already.

    Raises:
        ValueError: labels and output do not fit each other.
    """
    right = _right(labels, output)
    if right is None:
        message = f"labels {list(labels.shape)} do not fit an output {list(output.shape)}"
        raise ValueError(message)
    return float(np.mean(right))


def function_named(name: str) -> Metric:
    """Imports the user's function, `PACKAGE.MODULE:FUNCTION` or `FILE.py:FUNCTION`; it runs only in the worker.

    Raises:
        BadInput: there is no such function.
    """
    module, _, function = name.rpartition(":")
    try:
        found: Metric = getattr(import_user_module(module), function)
    except Exception as error:
        raise BadInput(
            f"samples.metric {name}: cannot be imported: {type(error).__name__}: {error}",
            next_step="Name a function as PACKAGE.MODULE:FUNCTION or FILE.py:FUNCTION that takes the labels and a dict "
            "of outputs, and returns a number that is larger for the better model.",
        ) from error
    return found


def scored(name: str, metric: Metric, labels: np.ndarray, outputs: Mapping[str, np.ndarray]) -> float:
    """Calls the user's function on a model's outputs.

    Raises:
        BadInput: it fails, or returns no finite number.
    """
    try:
        value = float(metric(labels, dict(outputs)))
    except Exception as error:
        raise BadInput(f"samples.metric {name}: fails: {type(error).__name__}: {error}") from error
    if not math.isfinite(value):
        raise BadInput(f"samples.metric {name}: returned {value}; valid is a finite number")
    return value


def _right(labels: np.ndarray, output: np.ndarray) -> np.ndarray | None:
    """Returns a bool for each row, True where the decision is the label; None where labels and output do not fit."""
    if not output.ndim or not labels.ndim or len(labels) != len(output):
        return None
    if output.ndim == _MATRIX and output.shape[1] > 1 and output.dtype.kind == "f":
        classes = _classes(labels, output.shape[1])
        return None if classes is None else np.asarray(np.argmax(output, axis=1) == classes)
    if labels.dtype.kind not in "iub" or labels.size != output.size:
        return None
    flat, wanted = output.reshape(-1), labels.reshape(-1)
    if output.dtype.kind in "iub":
        return np.asarray(flat == wanted)
    if output.dtype.kind != "f" or not set(np.unique(wanted).tolist()) <= {0, 1}:
        return None
    with np.errstate(invalid="ignore"):
        share = bool(np.all((flat >= 0) & (flat <= 1)))
        return np.asarray((flat > (0.5 if share else 0.0)) == (wanted == 1))


def _classes(labels: np.ndarray, count: int) -> np.ndarray | None:
    """Converts labels to class numbers: they are numbers already, or one-hot rows; None where they are neither."""
    if labels.size == len(labels) and labels.dtype.kind in "iu":
        classes = labels.reshape(-1)
        return classes if classes.min() >= 0 and classes.max() < count else None
    one_hot = labels.ndim == _MATRIX and labels.shape[1] == count and labels.dtype.kind in "iubf"
    if one_hot and np.array_equal(np.sort(np.unique(labels)), [0, 1]) and np.all(labels.sum(axis=1) == 1):
        return np.asarray(np.argmax(labels, axis=1))
    return None
