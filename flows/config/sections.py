"""Defines the small sections of `release.toml`: samples, the ONNX exporter, the limits of every job.

`flows.config.settings` puts them together with `flows.config.policy`.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from flows.config.policy import Section


class Samples(Section):
    """Names the samples that every artifact is fed."""

    path: Path | None = Field(default=None, description="`.npz` or folder of `.npy`, one array per input.")
    batches: tuple[int, ...] = Field(
        default=(1, 2, 7), min_length=1, description="Batch sizes of the seeded sets derived from the signature."
    )
    metric: str | None = Field(
        default=None,
        pattern=r".+:[A-Za-z_]\w*",
        description="What the array `labels` measures: a function of your own that takes the labels and a dict of "
        "outputs and returns a number, larger for the better model, as `PACKAGE.MODULE:FUNCTION` or "
        "`FILE.py:FUNCTION`; it runs in the worker. Left out, accuracy where labels and an output fit each other.",
    )

    @field_validator("batches")
    @classmethod
    def _positive(cls, batches: tuple[int, ...]) -> tuple[int, ...]:
        if min(batches) < 1 or len(set(batches)) != len(batches):
            msg = f"got {list(batches)}, valid are different batch sizes of at least 1"
            raise ValueError(msg)
        return batches


class Onnx(Section):
    """Sets the options of the ONNX exporter."""

    opset: Literal[17, 18] = Field(default=18, description="Operator set version.")


class JobLimits(Section):
    """Limits the time and memory of every job."""

    seconds: float = Field(default=900, gt=0, allow_inf_nan=False, description="Wall time of one export or cell.")
    sample_seconds: float = Field(
        default=60,
        gt=0,
        allow_inf_nan=False,
        description="A cell makes no further call that would take its inference beyond this time.",
    )
    software_seconds: float = Field(
        default=30, gt=0, allow_inf_nan=False, description="The same for cells on a software GPU."
    )
    memory_gib: float = Field(
        default=12,
        gt=0,
        allow_inf_nan=False,
        description="Memory of one job's processes, GiB; shared pages count once.",
    )
    retries: int = Field(
        default=1,
        ge=0,
        le=5,
        description="How often a job is done again that ran out of time or memory, or whose process or browser died; "
        "a verdict is never repeated.",
    )
    pool_seconds: float = Field(
        default=3600,
        gt=0,
        allow_inf_nan=False,
        description="How long a release waits for the workers of `policy.gpu_pool`, queue and cells together.",
    )
    approval_seconds: float = Field(
        default=86400,
        gt=0,
        allow_inf_nan=False,
        description="How long a paused run waits for a person; afterwards `paritygate approve` can still approve.",
    )
