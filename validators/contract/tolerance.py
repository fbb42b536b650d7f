"""Records how far an output may differ from the reference, and the rounding error of the original."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """Defines when an element passes: |actual - reference| <= atol + rtol * |reference|.

    Attributes:
        atol: absolute part, in the output's own unit.
        rtol: relative part.
        reason: why these numbers, in words.
    """

    atol: float
    rtol: float
    reason: str


PARTS = ("atol", "rtol", "multiple")
"""Parts of a tolerance that a policy may set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToleranceOverride:
    """Records parts of a tolerance that a policy sets by hand, for some cells and outputs.

    Attributes:
        cells: `FORMAT RUNTIME DEVICE` or `FORMAT/VARIANT RUNTIME DEVICE`, each a name or `*`.
        output: canonical name of an output, or `*`.
        atol: absolute part, in the output's own unit; None keeps the rule's.
        rtol: relative part; None keeps the rule's.
        multiple: how many times the noise floor the absolute part is, where the rule's is too many or too few.
    """

    cells: str = "* * *"
    output: str = "*"
    atol: float | None = None
    rtol: float | None = None
    multiple: float | None = None

    def fits(self, artifact: str, runtime: str, device: str) -> bool:
        """Tells whether it holds for a cell.

        Args:
            artifact: `format/variant`.
            runtime: registry name of the cell's runtime.
            device: where the cell is asked to run.
        """
        asked_artifact, *asked_place = self.cells.split()
        format_, slash, variant = asked_artifact.partition("/")
        # `FORMAT` means every variant of it.
        asked = (format_, variant if slash else "*", *asked_place)
        return all(
            word in {"*", name} for word, name in zip(asked, (*artifact.split("/"), runtime, device), strict=True)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Records the rounding error of one output: how far the original's float32 answers are from its float64 ones.

    Attributes:
        floor: the largest |float32 - float64| over all rows that were measured, in the output's unit; None where there
            is no float64 answer to compare with.
        scale: the largest finite magnitude of the output over those rows.
        rows: how many rows were measured.
        why: why there is no floor; empty where there is one.
    """

    floor: float | None
    scale: float
    rows: int
    why: str = ""
