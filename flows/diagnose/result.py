"""What a diagnosis found, as `--json` prints it and `diagnosis.json` keeps it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Verdict = Literal["layer", "outputs", "runtime", "agrees", "unknown"]
"""`layer`: the layer that the artifact's own tensors show at fault. `outputs`: every layer is right, and outputs stand
under wrong names. `runtime`: the inner tensors show nothing or cannot be seen, and the layer is the one from which on a
new export fails. `agrees`: the cell passes. `unknown`: it fails, and no layer could be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A layer: its path of names and its class."""

    layer: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """The whole cell once more with one setting of the runtime changed.

    Attributes:
        setting: what was changed.
        status, message: of that cell.
        max_abs: its largest distance; None when nothing was compared.
    """

    setting: str
    status: str
    message: str
    max_abs: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What a diagnosis found.

    Attributes:
        release: the release directory.
        cell: `format/variant runtime device`.
        model: the model's file.
        status, message: of the cell, run again.
        verdict: see there.
        summary: the verdict in a sentence.
        suspects: the layers, the most likely first; several where the artifact computes them in one operator.
        tensor: the artifact's tensor that holds the wrong value; empty where it could not be told.
        distance: how far that lies from what the layer makes of right inputs, as a share of its scale (NaN and
            infinity: `validators.diagnosis.tensor_match.distance`); None without one.
        limit: the distance beyond which a layer counted as wrong.
        sample_set, rows: what was fed.
        confirmed: what was tried, and showed it.
        inferred: what is concluded and was not tried.
        switches: what the runtime's settings change.
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
    switches: tuple[Switch, ...] = ()
    reproduction: Path | None = None
    seconds: float = 0.0
