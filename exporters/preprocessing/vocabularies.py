"""Finds the entries that a model knows, so that samples contain them.

In: a loaded model. Out: for every input that is looked up in a vocabulary, some of its entries, and masks. Without
them every text would be unknown to the model, and an artifact with a shuffled vocabulary would pass.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from exporters.preprocessing.call_recorder import recording
from exporters.preprocessing.graph_ancestors import upstream
from exporters.source.keras.graph_function import graph_function
from exporters.source.keras.model import SourceModel, tensor_specs

Entry = str | int
_EACH = 16  # entries of one vocabulary
_PHRASE = 5  # words of one text


def entries_of(model: SourceModel) -> Mapping[str, tuple[Entry, ...]]:
    """Returns entries of the vocabularies that use each input, evenly spread, and masks; only inputs that have some."""
    layers = model.graph._flatten_layers()  # noqa: SLF001 - nested too
    if not any(hasattr(layer, "lookup_table") or hasattr(layer, "mask_value") for layer in layers):
        return {}

    @graph_function
    def inference(**inputs: Any) -> dict[str, Any]:
        return model.call(inputs)

    with recording() as calls:
        inference.get_concrete_function(**tensor_specs(model.signature.inputs))
    dtypes = {spec.name: spec.dtype for spec in model.signature.inputs}
    found: dict[str, dict[Entry, None]] = {}
    for call in calls:
        if not (entries := _entries(call.layer)):
            continue
        for operator in upstream(value for value in call.inputs if hasattr(value, "op")):
            if operator.type == "Placeholder" and operator.name in dtypes:
                fit = fitting(entries, dtypes[operator.name])
                found.setdefault(operator.name, {}).update(dict.fromkeys(fit))
    return {name: tuple(entries) for name, entries in found.items() if entries}


def fitting(entries: Iterable[Entry], dtype: str) -> list[Entry]:
    """Converts entries to an input's type, text or numbers; an entry that is no number of the type is left out."""
    if dtype == "string":
        return [str(entry) for entry in entries]
    limits = np.iinfo(dtype if dtype.startswith(("int", "uint")) else "int64")
    numbers = [entry if isinstance(entry, int) else _number(entry) for entry in entries]
    return [number for number in numbers if number is not None and limits.min <= number < limits.max]


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _entries(layer: Any) -> list[Entry]:
    """Returns some entries of a layer's vocabulary, and its mask."""
    layer = getattr(layer, "_lookup_layer", layer)
    if getattr(layer, "invert", False):
        return []
    mask: Any = getattr(layer, "mask_token", getattr(layer, "mask_value", None))
    # The empty text is among the unknown ones that every sample set draws from.
    masks: list[Entry] = [] if mask in {None, "", b""} else [mask.decode() if isinstance(mask, bytes) else mask]
    table = getattr(layer, "lookup_table", None)
    return [*(() if table is None else _spread(table)), *masks]


def _spread(table: Any) -> list[Entry]:
    keys, numbers = (tensor.numpy().tolist() for tensor in table.export())
    ordered = [key for _, key in sorted(zip(numbers, keys, strict=True))]
    some = ordered[:: max(1, len(ordered) // _EACH)]
    return [key.decode(errors="replace") if isinstance(key, bytes) else int(key) for key in some]


def with_unknown(entries: Sequence[Entry], unknown: Sequence[str]) -> tuple[Entry, ...]:
    """Returns the pool that samples are drawn from: entries, as many unknown ones, and texts of several words.

    Args:
        entries: of the vocabularies that use one input.
        unknown: texts that hardly any vocabulary holds.
    """
    words = [entry for entry in entries if isinstance(entry, str)]
    numbers = [entry for entry in entries if isinstance(entry, int)]
    if numbers:
        return (*numbers, *(number + 1 for number in numbers))
    phrases = [" ".join(words[at : at + _PHRASE]) for at in range(0, len(words), _PHRASE)]
    known = (*words, *(f"{phrase.capitalize()}, unseen!" for phrase in phrases))
    return (*known, *tuple(unknown) * max(1, len(known) // len(unknown)))
