"""What the gate demands, as `release.toml`, the flow's form and the command line say it: the section `[policy]`.

In: what a person wrote. Out: `Policy`, or an error of pydantic's that names the key and what is valid.
"""

import difflib
from collections.abc import Sequence
from datetime import date
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from exporters.errors import BadInput
from validators.contract import BaselineLimits, ByHand, Gpu, Kept, Waiver, Weak
from validators.release.attestations import fault
from validators.runtimes.registry import RUNTIMES

_LIMITS = BaselineLimits()
_WORDS_OF_A_CELL = 3


class Section(BaseModel):
    """A section of `release.toml`: an unknown key is refused, and nothing changes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WaiverSection(Section):
    """A cell that stands against no release until a day, whatever came of it."""

    cell: str = Field(
        description="`FORMAT RUNTIME DEVICE`, or `FORMAT/VARIANT RUNTIME DEVICE` for one variant alone.",
        examples=["tfjs tfjs-wasm cpu"],
    )
    until: date = Field(description="The last day on which it holds, UTC.", examples=["2027-01-31"])
    by: str = Field(description="Who answers for it.")
    why: str = Field(description="The reason; reports tell it.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if wrong := fault(self.record):
            raise ValueError(wrong)
        return self

    @property
    def record(self) -> Waiver:
        """The waiver, as the release's manifest keeps it."""
        return Waiver(cell=self.cell, until=self.until, by=self.by, why=self.why)


class ToleranceSection(Section):
    """Parts of the tolerance of some cells and outputs."""

    cells: str = Field(
        default="* * *",
        description="`FORMAT RUNTIME DEVICE`, each a name or `*`.",
        examples=["tfjs * gpu", "onnx onnxruntime cpu"],
    )
    output: str = Field(default="*", description="Name of an output, or `*`.", examples=["probabilities"])
    atol: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="Absolute tolerance, in the output's unit."
    )
    rtol: float | None = Field(default=None, ge=0, allow_inf_nan=False, description="Relative tolerance.")
    multiple: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="How many times the original's own rounding; where that is not known it says nothing.",
    )

    @model_validator(mode="after")
    def _fits_some_cell(self) -> Self:
        if self.atol is self.rtol is self.multiple is None:
            raise ValueError("sets nothing; give `atol`, `rtol` or `multiple`")
        if len(self.cells.split()) != _WORDS_OF_A_CELL:
            raise ValueError(f"cells: got {self.cells!r}; expected `FORMAT RUNTIME DEVICE`, each a name or `*`")
        if not any(self.record.fits(row.format, row.name, row.device) for row in RUNTIMES):
            raise ValueError(
                f"cells: no cell is {self.cells!r}; `paritygate doctor` lists formats, runtimes and devices"
            )
        return self

    @property
    def record(self) -> ByHand:
        """The entry, as the release's manifest keeps it."""
        return ByHand(**self.model_dump())


class Baseline(Section):
    """How much worse than the baseline, the last release that went out, a release may be."""

    size_ratio: float = Field(
        default=_LIMITS.size_ratio, gt=0, allow_inf_nan=False, description="Of each artifact's bytes."
    )
    latency_ratio: float = Field(
        default=_LIMITS.latency_ratio, gt=0, allow_inf_nan=False, description="Of each cell's median call."
    )
    distance_ratio: float = Field(
        default=_LIMITS.distance_ratio,
        gt=0,
        allow_inf_nan=False,
        description="Of each cell's largest distance from Keras, as a share of its tolerance.",
    )
    metric_drop: float = Field(
        default=_LIMITS.metric_drop, ge=0, allow_inf_nan=False, description="Of the task metric, in its own unit."
    )

    @property
    def record(self) -> BaselineLimits:
        """The limits, as the release's manifest keeps them."""
        return BaselineLimits(**self.model_dump())


class Policy(Section):
    """What the gate demands."""

    required: tuple[str, ...] | None = Field(
        default=None,
        description="Cells that must pass, each as `FORMAT RUNTIME DEVICE`; by default one CPU cell for every main "
        "runtime of every exported format, whatever this machine has.",
        examples=[["onnx onnxruntime cpu"]],
    )
    atol: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="Absolute tolerance, in the output's unit."
    )
    rtol: float | None = Field(default=None, ge=0, allow_inf_nan=False, description="Relative tolerance.")
    tolerances: tuple[ToleranceSection, ...] = Field(
        default=(),
        description="Tolerances of some cells and outputs alone; of each part the first entry counts that has it, then "
        "`atol` and `rtol` of all.",
    )
    weak_evidence: Weak = Field(
        default="report",
        description="What an output that barely varies over the samples does: `report` names it, `refuse` stands "
        "against the release.",
    )
    task_margin: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="By how much the task metric of an artifact may lie below the original's, over the labelled "
        "samples; left out, it is reported and decides nothing.",
    )
    gpu: Gpu = Field(
        default="any",
        description="What counts as a GPU: `any` adapter, software ones too; `hardware`: real cards alone; `off`: no "
        "GPU cell is run.",
    )
    tf32: bool = Field(
        default=False, description="Run CUDA cells a second time with TF32 allowed, and report both distances."
    )
    elsewhere: tuple[str, ...] = Field(
        default=(),
        description="Cells that another machine has to prove: they are not run here, and the release waits for their "
        "attestation (`paritygate verify --device gpu --attest` there, `paritygate gate` here).",
        examples=[["onnx onnxruntime gpu"]],
    )
    gpu_pool: str | None = Field(
        default=None,
        description="Prefect work pool whose workers run the cells of `elsewhere`; they see the release directory "
        "under the same path. The release waits for them.",
    )

    approval: bool = Field(
        default=False,
        description="A person has to approve the release: a run on a server pauses with the report until somebody "
        "resumes it with their name and a reason; everywhere else `paritygate approve` does it.",
    )
    waivers: tuple[WaiverSection, ...] = Field(
        default=(), description="Cells that stand against no release until a day; each says by whom and why."
    )
    evidence: Kept = Field(
        default="full",
        description="What the release keeps of its samples: `full`: all that `paritygate verify` needs; `digests`: "
        "they are private, only SHA-256 digests stay and no report shows one. Its cells then cannot run again.",
    )
    baseline: Baseline = Baseline()

    @field_validator("required", "elsewhere")
    @classmethod
    def _known_cells(cls, cells: tuple[str, ...] | None) -> tuple[str, ...] | None:
        valid = [str(row.requirement) for row in RUNTIMES]
        for cell in cells or ():
            if cell not in valid:
                raise ValueError(unknown("cell", cell, valid))
        return cells

    def refuse_unknown_outputs(self, outputs: Sequence[str]) -> None:
        """Looks at the outputs that tolerances are set for, once those of the model are known.

        Raises:
            BadInput: the model has no output of that name, so that the entry would never hold.
        """
        for entry in self.tolerances:
            if entry.output not in {"*", *outputs}:
                raise BadInput(f"policy.tolerances: {unknown('output', entry.output, outputs)}")


def unknown(what: str, got: str, valid: Sequence[str], *, prefix: str = "") -> str:
    """`unknown format 'tflit' (did you mean 'tflite'?); valid are ...`."""
    names = [f"{prefix}.{name}" if prefix else name for name in valid]
    near = difflib.get_close_matches(got, names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"unknown {what} {got!r}{hint}; valid are {', '.join(names)}"
