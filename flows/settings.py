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

from exporters.admission.assembled import builder_file, is_builder
from exporters.errors import BadInput
from exporters.registry import FORMATS
from validators.contract import Gpu, Requirement
from validators.manifest import PolicyRecord
from validators.registry import ORIGINAL, RUNTIMES, RuntimeRow, default_requirements, planned

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

    @field_validator("required", "elsewhere")
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
        description="A cell makes no further call that would take its inference beyond this time.",
    )
    software_seconds: float = Field(
        default=30, gt=0, allow_inf_nan=False, description="The same for cells on a software GPU."
    )
    memory_gib: float = Field(
        default=12, gt=0, allow_inf_nan=False, description="Resident memory of one job's process tree, GiB."
    )
    pool_seconds: float = Field(
        default=3600,
        gt=0,
        allow_inf_nan=False,
        description="How long a release waits for the workers of `policy.gpu_pool`, queue and cells together.",
    )


class _Subject(_Section):
    model: Path = Field(
        description="The trained model: a `.keras` or `.h5` file, a SavedModel folder that Keras made; or, with "
        "`architecture`, weights: a `.weights.h5` or `.h5` file, or the prefix or folder of a TensorFlow checkpoint."
    )
    architecture: str | None = Field(
        default=None,
        description="For weights alone: the `model.json` that `model.to_json()` wrote, or a function of your own that "
        "returns the model, as `PACKAGE.MODULE:FUNCTION` or `FILE.py:FUNCTION`; it runs in the worker.",
    )
    output: Path | None = Field(default=None, description="Release directory; default `NAME.release` beside you.")


class Terms(_Section):
    """What is demanded of a release, whatever the model: one set of terms serves a whole shelf."""

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
    input_shapes: Mapping[str, tuple[int | None, ...]] = Field(
        default={},
        description="Shape of each input, batch axis first, for a model whose file does not say it: a list of lengths, "
        "or text as for --input-shape, in which `?` is a free axis.",
        examples=[{"image": "?,32,32,3"}],
    )

    @field_validator("formats")
    @classmethod
    def _known_formats(cls, formats: tuple[str, ...]) -> tuple[str, ...]:
        for name in formats:
            if name not in FORMATS:
                raise ValueError(_unknown("format", name, FORMATS))
        return formats

    @field_validator("input_shapes", mode="before")
    @classmethod
    def _spelled_shapes(cls, shapes: Any) -> Any:
        return {name: _shape(shape) for name, shape in shapes.items()} if isinstance(shapes, Mapping) else shapes

    @field_validator("input_shapes")
    @classmethod
    def _shapes_of_tensors(cls, shapes: Mapping[str, tuple[int | None, ...]]) -> Mapping[str, tuple[int | None, ...]]:
        for name, shape in shapes.items():
            if not shape or any(axis is not None and axis < 1 for axis in shape):
                msg = f"the shape of {name!r} is {list(shape)}, valid is a batch axis and lengths of at least 1"
                raise ValueError(msg)
        return shapes

    @model_validator(mode="after")
    def _required_cells_can_be(self) -> Self:
        for key, requirements in (("required", self.required), ("elsewhere", self.elsewhere)):
            for requirement in requirements:
                if requirement.format not in (*self.formats, ORIGINAL):
                    msg = f"policy.{key} demands `{requirement}`, but formats leaves out {requirement.format}"
                    raise ValueError(msg)
                if requirement not in [row.requirement for row in self._planned]:
                    msg = f"policy.{key} demands `{requirement}`, but policy.gpu and policy.tf32 leave it out"
                    raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _cells_from_elsewhere_can_come(self) -> Self:
        if any(requirement.format == ORIGINAL for requirement in self.elsewhere):
            msg = "policy.elsewhere demands the original, which is not in a release: valid are cells of artifacts"
            raise ValueError(msg)
        if twice := set(self.required) & set(self.elsewhere):
            msg = f"`{min(map(str, twice))}` stands in policy.required and in policy.elsewhere: valid is one of them"
            raise ValueError(msg)
        if self.policy.gpu_pool and not self.elsewhere:
            msg = "policy.gpu_pool names a pool, but policy.elsewhere names no cell for it"
            raise ValueError(msg)
        return self

    @property
    def required(self) -> tuple[Requirement, ...]:
        """The cells that the policy demands."""
        if self.policy.required is None:
            return default_requirements(self.formats)
        return _requirements(self.policy.required)

    @property
    def elsewhere(self) -> tuple[Requirement, ...]:
        """The cells that the policy demands of other machines."""
        return _requirements(self.policy.elsewhere)

    @property
    def record(self) -> PolicyRecord:
        """What of this decides, as the release's manifest keeps it."""
        return PolicyRecord(
            required=self.required,
            formats=self.formats,
            atol=self.policy.atol,
            rtol=self.policy.rtol,
            sample_seconds=self.limits.sample_seconds,
            software_seconds=self.limits.software_seconds,
            seconds=self.limits.seconds,
            memory_gib=self.limits.memory_gib,
            gpu=self.policy.gpu,
            tf32=self.policy.tf32,
            elsewhere=self.elsewhere,
        )

    @property
    def runtimes(self) -> tuple[RuntimeRow, ...]:
        """The rows whose cells are run here; those of `policy.elsewhere` come from another machine."""
        return tuple(row for row in self._planned if row.requirement not in self.elsewhere)

    @property
    def _planned(self) -> tuple[RuntimeRow, ...]:
        return planned((*self.formats, ORIGINAL), gpu=self.policy.gpu, tf32=self.policy.tf32)


class Settings(Terms, _Subject):
    """A release: the model, where the result goes, and what is demanded of it."""

    @property
    def release_dir(self) -> Path:
        """Where the release goes."""
        return self.output or Path(f"{self.model.absolute().stem}.release")


def _shape(shape: Any) -> Any:
    """A shape as a list: `?,32,32,3` in text, where TOML has no null for a free axis either."""
    axes = shape.split(",") if isinstance(shape, str) else shape
    if not isinstance(axes, Sequence):
        return shape
    return [_axis(axis) for axis in axes]


def _axis(axis: Any) -> Any:
    text = axis.strip() if isinstance(axis, str) else axis
    return None if text in ("?", "None", "none") else text


def _requirements(cells: Sequence[str]) -> tuple[Requirement, ...]:
    rows = {str(row.requirement): row.requirement for row in RUNTIMES}
    return tuple(rows[cell] for cell in cells)


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


def named_shapes(flags: Sequence[str] | None) -> dict[str, str] | None:
    """What `--input-shape NAME=AXIS,AXIS,...` says, as `Settings.input_shapes` takes it; None when it says nothing.

    Raises:
        BadInput: a flag has no name or no shape, or one name stands twice.
    """
    shapes: dict[str, str] = {}
    for flag in flags or ():
        name, equals, shape = flag.partition("=")
        if not (name and equals and shape) or name in shapes:
            what = "is given twice" if name in shapes else "is not NAME=AXIS,AXIS,..."
            raise BadInput(f"--input-shape {flag}: {what}", next_step="For example: --input-shape image=?,32,32,3")
        shapes[name] = shape
    return shapes or None


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
    architecture = values.get("architecture")
    if isinstance(architecture, str) and (not is_builder(architecture) or builder_file(architecture)):
        values["architecture"] = str(folder / architecture)
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
