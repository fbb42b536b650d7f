"""What a release is asked to do: one pydantic model behind `release.toml`, the flow's parameters and the CLI's flags.

In: a TOML file and overrides. Out: `Settings`, or `BadInput` that names the key, what was got, what is valid, and the
near match if there is one. Nothing is ever substituted.
"""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from exporters.errors import BadInput
from exporters.registry import FORMATS
from validators.contract import Requirement
from validators.registry import RUNTIMES, default_requirements

_FORMAT_CHOICES: dict[str, Any] = {"items": {"type": "string", "enum": list(FORMATS)}}  # so that a form offers them


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Policy(_Section):
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

    @field_validator("required")
    @classmethod
    def _known_cells(cls, cells: tuple[str, ...] | None) -> tuple[str, ...] | None:
        valid = [str(row.requirement) for row in RUNTIMES]
        for cell in cells or ():
            if cell not in valid:
                raise ValueError(_unknown("cell", cell, valid))
        return cells


class Samples(_Section):
    """What every artifact is fed."""

    path: Path | None = Field(default=None, description="`.npz` or folder of `.npy`, one array per input.")
    batches: tuple[int, ...] = Field(
        default=(1, 2, 7), min_length=1, description="Batch sizes of the seeded sets derived from the signature."
    )

    @field_validator("batches")
    @classmethod
    def _positive(cls, batches: tuple[int, ...]) -> tuple[int, ...]:
        if min(batches) < 1 or len(set(batches)) != len(batches):
            msg = f"got {list(batches)}, valid are different batch sizes of at least 1"
            raise ValueError(msg)
        return batches


class Onnx(_Section):
    """Options of the ONNX exporter."""

    opset: Literal[17, 18] = Field(default=18, description="Operator set version.")


class Limits(_Section):
    """Bounds of every job."""

    seconds: float = Field(default=900, gt=0, allow_inf_nan=False, description="Wall time of one export or cell.")
    sample_seconds: float = Field(
        default=60,
        gt=0,
        allow_inf_nan=False,
        description="A cell starts no further sample set that would take it beyond this time.",
    )
    memory_gib: float = Field(
        default=12, gt=0, allow_inf_nan=False, description="Resident memory of one job's process tree, GiB."
    )


class Settings(_Section):
    """A release: the model, where the result goes, and what is demanded of it."""

    model: Path = Field(description="The trained `.keras` file.")
    output: Path | None = Field(default=None, description="Release directory; default `NAME.release` beside you.")
    formats: tuple[str, ...] = Field(
        default=FORMATS, min_length=1, description="What to export.", json_schema_extra=_FORMAT_CHOICES
    )
    samples: Samples = Samples()
    policy: Policy = Policy()
    onnx: Onnx = Onnx()
    limits: Limits = Limits()
    custom_objects: tuple[str, ...] = Field(
        default=(),
        description="Modules or `.py` files with the model's own layers and functions; they run in the worker.",
    )
    trust_lambda: bool = Field(default=False, description="Let Lambda layers run the bytecode stored in the file.")

    @field_validator("formats")
    @classmethod
    def _known_formats(cls, formats: tuple[str, ...]) -> tuple[str, ...]:
        for name in formats:
            if name not in FORMATS:
                raise ValueError(_unknown("format", name, FORMATS))
        return formats

    @model_validator(mode="after")
    def _required_formats_are_exported(self) -> Self:
        for requirement in self.required:
            if requirement.format not in self.formats:
                msg = f"policy.required demands `{requirement}`, but formats leaves out {requirement.format}"
                raise ValueError(msg)
        return self

    @property
    def release_dir(self) -> Path:
        """Where the release goes."""
        return self.output or Path(f"{self.model.stem}.release")

    @property
    def required(self) -> tuple[Requirement, ...]:
        """The cells that the policy demands."""
        if self.policy.required is None:
            return default_requirements(self.formats)
        rows = {str(row.requirement): row.requirement for row in RUNTIMES}
        return tuple(rows[cell] for cell in self.policy.required)


def load_settings(config: Path | None, overrides: Mapping[str, Any]) -> Settings:
    """Settings from `release.toml`, then overrides (the CLI's flags) on top.

    Args:
        config: the TOML file; paths in it are relative to it. None for defaults.
        overrides: nested like the model; None values are left out.

    Raises:
        BadInput: the file cannot be read, or a key or value is not valid.
    """
    values = _read(config) if config else {}
    _merge(values, overrides)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        where = str(config) if config else "settings"
        raise BadInput(
            f"{where}: {'; '.join(_faults(error))}", next_step="`paritygate release --help` lists what is valid."
        ) from error


def _read(config: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(config.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"--config {config}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"--config {config}: not valid TOML: {error}") from error
    _anchor(values, config.parent)
    return values


def _anchor(values: dict[str, Any], folder: Path) -> None:
    """Makes the file's own paths relative to the file."""
    for section, key in ((values, "model"), (values, "output"), (values.get("samples"), "path")):
        if isinstance(section, dict) and isinstance(section.get(key), str):
            section[key] = str(folder / section[key])
    objects = values.get("custom_objects")
    if isinstance(objects, list):
        values["custom_objects"] = [str(folder / o) if str(o).endswith(".py") else o for o in objects]


def _merge(values: dict[str, Any], overrides: Mapping[str, Any]) -> None:
    for key, value in overrides.items():
        if isinstance(value, Mapping):
            section = values.setdefault(key, {})
            if isinstance(section, dict):  # anything else in a section's place is refused when it is validated
                _merge(section, value)
        elif value is not None:
            values[key] = value


def _faults(error: ValidationError) -> list[str]:
    return [_fault(fault) for fault in error.errors(include_url=False)]


def _fault(fault: Any) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"]).lstrip(".")
    if fault["type"] == "extra_forbidden":
        return _unknown("key", path, _valid_keys(fault["loc"][:-1]), prefix=".".join(map(str, fault["loc"][:-1])))
    if fault["type"] == "model_type":
        return (
            f"{path}: got {fault['input']!r}, valid is a section [{path}] with {', '.join(_valid_keys(fault['loc']))}"
        )
    message = fault["msg"].removeprefix("Value error, ")
    got = f", got {fault['input']!r}" if fault["type"] != "value_error" and fault["type"] != "missing" else ""
    return f"{path}: {message}{got}" if path else message


def _valid_keys(section: Sequence[str | int]) -> Sequence[str]:
    model: Any = Settings
    for part in section:
        model = model.model_fields[part].annotation
    return tuple(model.model_fields)


def _unknown(what: str, got: str, valid: Sequence[str], *, prefix: str = "") -> str:
    """`unknown format 'tflit' (did you mean 'tflite'?); valid are ...`."""
    names = [f"{prefix}.{name}" if prefix else name for name in valid]
    near = difflib.get_close_matches(got, names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"unknown {what} {got!r}{hint}; valid are {', '.join(names)}"
