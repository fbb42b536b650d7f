"""Generates the inputs that a description is tried on: known entries, masks, unknown ones, and difficult texts.

In: a preprocessing and the model's inputs. Out: rows for every input.
"""

from collections.abc import Mapping, Sequence
from itertools import chain, cycle, islice

import numpy as np

from exporters.contract import TensorSpec
from exporters.preprocessing.description import Preprocessing
from exporters.preprocessing.steps import Hash, Lookup
from exporters.preprocessing.vocabularies import Entry, fitting

HARD = (
    "",
    " ",
    "\t\n\v\f\r",
    "a",
    "the cat sat on the mat",
    "The CAT, sat; on (the) mat!",
    "...!?--''\"\"",
    "don't stop-me now_ok <br /> e-mail@example.com #1 $5 100% ^~`|\\{}[]",
    "\u00c9cole stra\u00dfe \u0130stanbul \u0391\u03a3",
    "no\u00a0break\u2003em\u3000ideographic\u2028line\u0085next",
    "e\u0301 combining, \U0001f469\u200d\U0001f469\u200d\U0001f467 family \U0001f600",
    "\u0645\u0631\u062d\u0628\u0627 \u4f60\u597d \u3053\u3093\u306b\u3061\u306f",
    "\x00nul\x1cfile\x1dgroup\x1funit",
    "tab\tnew\nline\r\nreturn",
    "[UNK] [MASK] -1 0 1 42 3.14",
    "word " * 600,
    "x" * 3000,
)
"""Texts on which rules differ that agree on most others."""
_WORDS = 60  # of each vocabulary
_INTEGERS = (0, 1, 2, -1, -7, 3, 10, 100, 2**31 - 1, 7)
_LENGTH = 5  # of dynamic axes but the batch


Rows = Mapping[str, np.ndarray]


def probes(preprocessing: Preprocessing, inputs: Sequence[TensorSpec]) -> tuple[Rows, Rows]:
    """Returns rows for every input twice: known entries only, since a model may refuse all others, then all kinds."""
    known = _known(preprocessing)
    hashed = [s.mask for s in preprocessing.description.steps if isinstance(s, Hash) and s.mask is not None]
    entries = [*chain.from_iterable(known.values()), *hashed]
    words = [entry for entry in entries if isinstance(entry, str)]
    sentences = [" ".join(words[at : at + 7]) for at in range(0, len(words), 7)]
    capitals = [f"{word.capitalize()}! {word.upper()}" for word in words]
    texts = [*HARD, *sentences, *capitals, *(word.upper() for word in words), *words]
    integers = [*_INTEGERS, *fitting(entries, "int64")]
    first, rows = max(map(len, known.values()), default=0), max(len(texts), len(integers))
    known_rows, all_rows = {}, {}
    for turn, spec in enumerate(inputs):
        pool = texts if spec.dtype == "string" else integers
        known_rows[spec.name] = _filled(spec, first, fitting(known.get(spec.name, ()), spec.dtype) or pool)
        all_rows[spec.name] = _filled(spec, rows, pool[turn % len(pool) :])
    return known_rows, all_rows


def _known(preprocessing: Preprocessing) -> Mapping[str, list[Entry]]:
    """Returns the entries of the vocabularies that use each input, and their masks, by its name."""
    sources = {spec.name: {spec.name} for spec in preprocessing.description.inputs}
    known: dict[str, list[Entry]] = {}
    for step in preprocessing.description.steps:
        sources[step.output] = set().union(*(sources[name] for name in step.inputs))
        if isinstance(step, Lookup):
            entries = [e for e in preprocessing.files[step.vocabulary][:_WORDS] if isinstance(e, str | int)]
            entries += [] if step.mask is None else [step.mask]
            for name in sources[step.output]:
                known.setdefault(name, []).extend(entries)
    return known


def _filled(spec: TensorSpec, rows: int, entries: Sequence[Entry]) -> np.ndarray:
    shape = (rows, *(_LENGTH if length is None else length for length in spec.shape[1:]))
    size = int(np.prod(shape))
    if spec.dtype == "string":
        array = np.empty(size, dtype=object)
        array[:] = [str(entry).encode() for entry in islice(cycle(entries), size)]
    elif spec.dtype.startswith(("int", "uint")):
        array = np.array([int(entry) for entry in islice(cycle(entries), size)], np.int64).astype(spec.dtype)
    else:
        array = np.linspace(-3, 3, size).astype(spec.dtype)
    return array.reshape(shape)
