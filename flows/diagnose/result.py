"""Defines the result of a diagnosis, as `--json` prints it and `diagnosis.json` keeps it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Verdict = Literal["layer", "outputs", "runtime", "agrees", "unknown"]
"""`layer`: the layer that the artifact's own tensors show at fault. `outputs`: every layer is right, and outputs have
wrong names. `runtime`: the inner tensors show nothing or cannot be seen, and the layer is the one from which on a
new export fails. `agrees`: the cell passes. `unknown`: it fails, and no layer could be named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """Names a layer: its path of names and its class."""

    layer: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingResult:
    """Records the whole cell, run again with one setting of the runtime changed.

    Attributes:
        setting: the setting that was changed.
        status, message: of that cell.
        max_abs: its largest distance; None when nothing was compared.
    """

    setting: str
    status: str
    message: str
    max_abs: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Records what a diagnosis found.

    Attributes:
        release: the release directory.
        cell: `format/variant runtime device`.
        model: the model's file.
        status, message: of the cell, run again.
        verdict: see there.
        summary: the verdict in a sentence.
        suspects: the layers, the most likely first; several where the artifact computes them in one operator.
        tensor: the artifact's tensor that holds the wrong value; empty where it is not known.
        distance: distance of that tensor from the layer's output for right inputs, as a share of its scale (for NaN
            and infinity see `validators.diagnosis.tensor_match.distance`); None where there is none.
        limit: the distance beyond which a layer counted as wrong.
        sample_set, rows: the inputs of the diagnosed call.
        confirmed: findings that an experiment showed.
        inferred: conclusions that no experiment showed.
        switches: the cell under each changed setting of the runtime; the name is part of the JSON.
        reproduction: folder that shows the difference without paritygate; None where there is none.
        seconds: wall time.
    """

    release: Path
    cell: str
    model: Path
    status: str
    message: str
    verdict: Verdict
    summary: str
    suspects: tuple[Suspect, ...] = ()
    tensor: str = ""
    distance: float | None = None
    limit: float = 0.0
    sample_set: str = ""
    rows: int = 0
    confirmed: tuple[str, ...] = ()
    inferred: tuple[str, ...] = ()
    switches: tuple[SettingResult, ...] = ()
    reproduction: Path | None = None
    seconds: float = 0.0
