"""Defines the demands of the gate: the section `[policy]` of `release.toml`, the flow's form and the command line.

In: values that a person wrote. Out: `Policy`, or a pydantic error that names the key and what is valid.
"""

import difflib
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from exporters.errors import BadInput
from exporters.formats.registry import FORMATS, VARIANTS
from validators.contract import (
    EvidenceRetention,
    Gpu,
    RegressionLimits,
    Requirement,
    ToleranceOverride,
    Waiver,
    WeakEvidenceAction,
)
from validators.release.attestations import fault
from validators.runtimes.registry import ORIGINAL, RUNTIMES

_LIMITS = RegressionLimits()
_WORDS_OF_A_CELL = 3


class Section(BaseModel):
    """Reads a section of `release.toml`; it refuses unknown keys and is frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WaiverSection(Section):
    """Waives a cell until a date, whatever its result."""

    cell: str = Field(
        description="`FORMAT RUNTIME DEVICE`, or `FORMAT/VARIANT RUNTIME DEVICE` for only one variant.",
        examples=["tfjs tfjs-wasm cpu"],
    )
    until: date = Field(description="The last day on which it holds, UTC.", examples=["2027-01-31"])
    by: str = Field(description="The person who is responsible for it.")
    why: str = Field(description="The reason, shown in reports.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if wrong := fault(self.record):
            raise ValueError(wrong)
        requirement_of(self.cell)
        return self

    @property
    def record(self) -> Waiver:
        """Returns the waiver as the release's manifest keeps it."""
        return Waiver(cell=self.cell, until=self.until, by=self.by, why=self.why)


class ToleranceSection(Section):
    """Sets parts of the tolerance of some cells and outputs."""

    cells: str = Field(
        default="* * *",
        description="`FORMAT RUNTIME DEVICE` or `FORMAT/VARIANT RUNTIME DEVICE`, each a name or `*`.",
        examples=["tfjs * gpu", "onnx onnxruntime cpu", "tflite/batch1 * *"],
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
        description="Tolerance as a multiple of the original's own rounding; it has no effect where that is not known.",
    )

    @model_validator(mode="after")
    def _fits_some_cell(self) -> Self:
        if self.atol is self.rtol is self.multiple is None:
            raise ValueError("sets nothing; give `atol`, `rtol` or `multiple`")
        if len(self.cells.split()) != _WORDS_OF_A_CELL:
            raise ValueError(f"cells: got {self.cells!r}; expected `FORMAT RUNTIME DEVICE`, each a name or `*`")
        keys = (*VARIANTS, f"{ORIGINAL}/default")
        cells = ((key, row) for row in RUNTIMES for key in keys if key.partition("/")[0] == row.format)
        if not any(self.record.fits(key, row.name, row.device) for key, row in cells):
            raise ValueError(
                f"cells: no cell is {self.cells!r}; `paritygate doctor` lists formats, runtimes and devices"
            )
        return self

    @property
    def record(self) -> ToleranceOverride:
        """Returns the entry as the release's manifest keeps it."""
        return ToleranceOverride(**self.model_dump())


class Baseline(Section):
    """Limits how much worse a release may be than its baseline, the last release that passed the gate."""

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

    size_ratios: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        default={},
        description="Of the bytes of single artifacts, `FORMAT/VARIANT` or `FORMAT`, instead of `size_ratio`.",
        examples=[{"tflite/batch1": 1.5}],
    )

    @field_validator("size_ratios")
    @classmethod
    def _known_artifacts(cls, ratios: dict[str, float]) -> dict[str, float]:
        for key in ratios:
            if key not in (*FORMATS, *VARIANTS):
                raise ValueError(unknown("artifact", key, (*FORMATS, *VARIANTS)))
        return ratios

    @property
    def record(self) -> RegressionLimits:
        """Returns the limits as the release's manifest keeps them."""
        return RegressionLimits(**self.model_dump())


class Policy(Section):
    """Defines what the gate demands of a release."""

    required: tuple[str, ...] | None = Field(
        default=None,
        description="Cells that must pass, each as `FORMAT RUNTIME DEVICE`, or `FORMAT/VARIANT RUNTIME DEVICE` for one "
        "variant; by default one CPU cell for every main "
        "runtime of every exported format, whatever this machine has.",
        examples=[["onnx onnxruntime cpu", "tflite/batch1 litert-xnnpack cpu"]],
    )
    atol: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="Absolute tolerance, in the output's unit."
    )
    rtol: float | None = Field(default=None, ge=0, allow_inf_nan=False, description="Relative tolerance.")
    tolerances: tuple[ToleranceSection, ...] = Field(
        default=(),
        description="Tolerances of only some cells and outputs; of each part the first entry that has it counts, then "
        "`atol` and `rtol` of all.",
    )
    weak_evidence: WeakEvidenceAction = Field(
        default="report",
        description="What an output that barely varies over the samples does: `report` names it, `refuse` refuses "
        "the release.",
    )
    task_margin: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="How far the task metric of an artifact may be below the original's, over the labelled "
        "samples; left out, it is reported and decides nothing.",
    )
    gpu: Gpu = Field(
        default="any",
        description="What counts as a GPU: `any` adapter, software ones too; `hardware`: only real cards; `off`: no "
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
        description="A person has to approve the release: a run on a server pauses with the report until a person "
        "resumes it with their name and a reason; everywhere else use `paritygate approve`.",
    )
    waivers: tuple[WaiverSection, ...] = Field(
        default=(), description="Cells that are waived until a date; each with a person and a reason."
    )
    evidence: EvidenceRetention = Field(
        default="full",
        description="What the release keeps of its samples: `full`: all that `paritygate verify` needs; `digests`: "
        "they are private, only SHA-256 digests stay and no report shows one. Its cells then cannot run again.",
    )
    baseline: Baseline = Baseline()

    @field_validator("required", "elsewhere")
    @classmethod
    def _known_cells(cls, cells: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for cell in cells or ():
            requirement_of(cell)
        return cells

    def refuse_unknown_outputs(self, outputs: Sequence[str]) -> None:
        """Refuses tolerances of unknown outputs, once the outputs of the model are known.

        Raises:
            BadInput: the model has no output of that name, so the entry would never apply.
        """
        for entry in self.tolerances:
            if entry.output not in {"*", *outputs}:
                raise BadInput(f"policy.tolerances: {unknown('output', entry.output, outputs)}")


def requirement_of(cell: str) -> Requirement:
    """Returns the requirement that a policy writes as `FORMAT RUNTIME DEVICE` or `FORMAT/VARIANT RUNTIME DEVICE`.

    Raises:
        ValueError: no such cell can be; the message names the near match and what is valid.
    """
    known = {str(row.requirement): row.requirement for row in RUNTIMES}
    artifacts, _, place = cell.partition(" ")
    format_, slash, variant = artifacts.partition("/")
    if not slash:
        if cell not in known:
            raise ValueError(unknown("cell", cell, tuple(known)))
        return known[cell]
    if f"{format_} {place}" not in known:
        raise ValueError(unknown("cell", cell, [f"{format_}/{variant} {name.partition(' ')[2]}" for name in known]))
    if artifacts not in VARIANTS:
        raise ValueError(f"{unknown('variant', artifacts, VARIANTS)}, in {cell!r}")
    return replace(known[f"{format_} {place}"], variant=variant)


def unknown(what: str, got: str, valid: Sequence[str], *, prefix: str = "") -> str:
    """Builds the message `unknown format 'tflit' (did you mean 'tflite'?); valid are ...`."""
    names = [f"{prefix}.{name}" if prefix else name for name in valid]
    near = difflib.get_close_matches(got, names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"unknown {what} {got!r}{hint}; valid are {', '.join(names)}"
