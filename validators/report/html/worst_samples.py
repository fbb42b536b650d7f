"""Finds the samples on which an artifact differs most from the reference, in a form to look at.

In: a release directory with its evidence, and its manifest. Out: some `WorstSample`s, those beyond the tolerance first.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from validators.contract import Cell, TensorDiff, Worst
from validators.release.evidence import Evidence, read_evidence
from validators.release.manifest import Manifest
from validators.report.html.sample_image import is_image, png_address

MOST = 6
"""Limits the samples shown to what a person looks at; the records name the worst element of every comparison."""
_VALUES = 8  # numbers of an input that are written out
_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleInput:
    """Holds one input of a sample: as an image where it is one, and in words.

    Attributes:
        name: of the input.
        image: address for `<img>`; empty where it is none.
        text: its shape, range and first values, or its text.
    """

    name: str
    image: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstSample:
    """Holds a sample on which cells differ much from the reference.

    Attributes:
        sample_set, row: which sample.
        output: the output that differs.
        worst: the element that differs most, in the first of the cells.
        distance: the largest over the cells; None where that is NaN or infinity.
        passed: whether every cell stayed within its tolerance.
        cells: their keys, the furthest first.
        inputs: the sample itself.
    """

    sample_set: str
    row: int
    output: str
    worst: Worst
    distance: float | None
    passed: bool
    cells: tuple[str, ...]
    inputs: tuple[SampleInput, ...]


def worst_samples(release: Path, manifest: Manifest) -> tuple[WorstSample, ...]:
    """Finds the worst samples of a release; none where nothing differs.

    An output that is not by rows says nothing of a single sample and is left out.

    Raises:
        BadInput: the evidence cannot be read.
    """
    by_rows = {spec.name for spec in manifest.model.signature.outputs if spec.shape and spec.shape[0] is None}
    compared: dict[tuple[str, int, str], list[tuple[Cell, TensorDiff]]] = defaultdict(list)
    for cell in manifest.cells:
        for diff in cell.diffs:
            if diff.name in by_rows and diff.worst and (diff.max_abs or not diff.passed):
                compared[diff.sample_set, diff.worst.index[0], diff.name].append((cell, diff))
    groups = sorted(compared.items(), key=lambda item: max(_rank(diff) for _, diff in item[1]), reverse=True)[:MOST]
    if not groups:
        return ()
    evidence = read_evidence(release)
    return tuple(_sample(evidence, *key, pairs) for key, pairs in groups)


def _rank(diff: TensorDiff) -> tuple[bool, float]:
    """Ranks what is beyond the tolerance first, then by the share of it that was used up."""
    if diff.nonfinite_mismatches:
        return True, float("inf")
    limit = diff.tolerance.atol if diff.tolerance else 0.0
    return not diff.passed, (diff.max_abs or 0.0) / limit if limit else diff.max_abs or 0.0


def _sample(
    evidence: Evidence, sample_set: str, row: int, output: str, pairs: list[tuple[Cell, TensorDiff]]
) -> WorstSample:
    pairs = sorted(pairs, key=lambda pair: _rank(pair[1]), reverse=True)
    (_, first) = pairs[0]
    assert first.worst is not None  # noqa: S101 - only such were gathered
    chosen = next(each for each in evidence.sets if each.name == sample_set)
    return WorstSample(
        sample_set=sample_set,
        row=row,
        output=output,
        worst=first.worst,
        distance=None if first.nonfinite_mismatches else first.max_abs,
        passed=all(diff.passed for _, diff in pairs),
        cells=tuple(cell.key for cell, _ in pairs),
        inputs=tuple(_input(name, array[row]) for name, array in evidence.samples(chosen).items() if row < len(array)),
    )


def _input(name: str, value: np.ndarray) -> SampleInput:
    shape = list(np.shape(value))
    flat = np.asarray(value).reshape(-1)
    if flat.dtype.kind in "OU":  # a single text is an array of its own length
        text = ", ".join(repr(each) for each in flat[:_VALUES].tolist())
        more = "" if flat.size <= _VALUES else f" and {flat.size - _VALUES} more"
        return SampleInput(name=name, image="", text=f"{text[:_CHARACTERS]}{'…' * (len(text) > _CHARACTERS)}{more}")
    image = png_address(value) if is_image(np.shape(value)) else ""
    text = f"{flat.dtype}{shape}"
    if flat.size:
        text += f", from {float(flat.min()):.3g} to {float(flat.max()):.3g}"
    if not image:
        shown = ", ".join(f"{each:.4g}" for each in flat[:_VALUES].tolist())
        text += f": {shown}{', …' * (flat.size > _VALUES)}"
    return SampleInput(name=name, image=image, text=text)
