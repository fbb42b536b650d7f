"""Defines the settings of a release: one pydantic model behind `release.toml`, the flow's parameters and CLI flags.

In: a TOML file and overrides. Out: `Settings`, or `BadInput` that names the key, what was got, what is valid, and the
near match if there is one. Nothing is ever substituted.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from exporters.errors import BadInput
from exporters.formats.registry import EXPORTERS, FORMATS, STATIC_EXPORTERS, VARIANTS, ExporterRow, formats_of, selects
from flows.config.policy import Policy, Section, requirement_of, unknown
from flows.config.release_toml import faults, merge, read, spelled_shape
from flows.config.sections import JobLimits, Onnx, Samples
from validators.contract import PolicyRecord, Requirement
from validators.runtimes.registry import ORIGINAL, default_requirements, planned
from validators.runtimes.row import RuntimeRow

_FORMAT_CHOICES: dict[str, Any] = {
    "items": {"type": "string", "enum": [*FORMATS, *VARIANTS]}
}  # so that a form offers them


class _ReleaseFiles(Section):
    model: Path = Field(
        description="The trained model: a `.keras` or `.h5` file, a SavedModel folder that Keras made; or, with "
        "`architecture`, weights: a `.weights.h5` or `.h5` file, or the prefix or folder of a TensorFlow checkpoint."
    )
    architecture: str | None = Field(
        default=None,
        description="For a file with only weights: the `model.json` that `model.to_json()` wrote, or a function of "
        "your own that returns the model, as `PACKAGE.MODULE:FUNCTION` or `FILE.py:FUNCTION`; it runs in the worker.",
    )
    output: Path | None = Field(
        default=None,
        description="Release directory; default: in the folder `releases` of a deployment, else `NAME.release` here.",
    )
    baseline: Path | None = Field(
        default=None,
        description="Directory of the last release that passed the gate: this one is refused when it is worse by more "
        "than `policy.baseline` allows.",
    )


class Terms(Section):
    """Defines what is demanded of every release: one set of terms serves a whole folder of models."""

    formats: tuple[str, ...] = Field(
        default=FORMATS,
        min_length=1,
        description="What to export: `tflite` for a format's default variants, `tflite/batch1` for one variant.",
        json_schema_extra=_FORMAT_CHOICES,
    )
    samples: Samples = Samples()
    policy: Policy = Policy()
    onnx: Onnx = Onnx()
    variants: Mapping[str, Mapping[str, str | int | bool]] = Field(
        default={},
        description="Options of single variants, `FORMAT/VARIANT` -> keys of the format's section, instead of it.",
        examples=[{"onnx/default": {"opset": 17}}],
    )
    limits: JobLimits = JobLimits()
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
            if name not in (*FORMATS, *VARIANTS):
                raise ValueError(unknown("format", name, (*FORMATS, *VARIANTS)))
        return formats

    @field_validator("variants")
    @classmethod
    def _known_options(
        cls, variants: Mapping[str, Mapping[str, str | int | bool]]
    ) -> Mapping[str, Mapping[str, str | int | bool]]:
        rows = {row.key: row for row in (*EXPORTERS, *STATIC_EXPORTERS)}
        for key, options in variants.items():
            if key not in rows:
                raise ValueError(unknown("variant", key, tuple(rows)))
            section = _section_of(rows[key])
            if section is None:
                raise ValueError(f"{key} has no options")
            for name in options:
                if name not in section.model_fields:
                    raise ValueError(unknown(f"option of {key}", name, tuple(section.model_fields)))
            try:
                section.model_validate(options)
            except ValidationError as error:
                raise ValueError(f"{key}: {'; '.join(faults(error, section))}") from error
        return variants

    @field_validator("input_shapes", mode="before")
    @classmethod
    def _spelled_shapes(cls, shapes: Any) -> Any:
        return {name: spelled_shape(shape) for name, shape in shapes.items()} if isinstance(shapes, Mapping) else shapes

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
                exported = requirement.format in (*formats_of(self.formats), ORIGINAL)
                if not exported or (requirement.variant and not selects(self.formats, requirement.artifacts)):
                    msg = f"policy.{key} demands `{requirement}`, but formats leaves out {requirement.artifacts}"
                    raise ValueError(msg)
                if requirement.of_format not in [row.requirement for row in self._planned]:
                    msg = f"policy.{key} demands `{requirement}`, but policy.gpu and policy.tf32 leave it out"
                    raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _cells_from_elsewhere_can_come(self) -> Self:
        if any(requirement.format == ORIGINAL for requirement in self.elsewhere):
            msg = "policy.elsewhere demands the original, which is not in a release: valid are cells of artifacts"
            raise ValueError(msg)
        twice = [each for each in self.elsewhere if any(each.overlaps(other) for other in self.required)]
        if twice:
            msg = f"`{min(map(str, twice))}` is in policy.required and in policy.elsewhere: valid is one of them"
            raise ValueError(msg)
        if self.elsewhere and self.policy.evidence == "digests":
            msg = "policy.elsewhere needs the samples there, but policy.evidence keeps only their digests"
            raise ValueError(msg)
        if self.policy.gpu_pool and not self.elsewhere:
            msg = "policy.gpu_pool names a pool, but policy.elsewhere names no cell for it"
            raise ValueError(msg)
        return self

    @property
    def required(self) -> tuple[Requirement, ...]:
        """Lists the cells that the policy demands."""
        if self.policy.required is None:
            return default_requirements(self.formats)
        return _requirements(self.policy.required)

    @property
    def elsewhere(self) -> tuple[Requirement, ...]:
        """Lists the cells that the policy demands of other machines."""
        return _requirements(self.policy.elsewhere)

    @property
    def demanded(self) -> tuple[Requirement, ...]:
        """Lists the cells that the policy demands, of this machine and of others."""
        return (*self.required, *self.elsewhere)

    @property
    def record(self) -> PolicyRecord:
        """Returns the settings that decide about a release, as its manifest keeps them."""
        return PolicyRecord(
            required=self.required,
            formats=self.formats,
            atol=self.policy.atol,
            rtol=self.policy.rtol,
            tolerances=tuple(each.record for each in self.policy.tolerances),
            weak_evidence=self.policy.weak_evidence,
            task_margin=self.policy.task_margin,
            sample_seconds=self.limits.sample_seconds,
            software_seconds=self.limits.software_seconds,
            seconds=self.limits.seconds,
            memory_gib=self.limits.memory_gib,
            retries=self.limits.retries,
            gpu=self.policy.gpu,
            tf32=self.policy.tf32,
            elsewhere=self.elsewhere,
            approval=self.policy.approval,
            waivers=tuple(waiver.record for waiver in self.policy.waivers),
            evidence=self.policy.evidence,
            baseline=self.policy.baseline.record,
        )

    @property
    def runtimes(self) -> tuple[RuntimeRow, ...]:
        """Lists the runtimes whose cells run here; another machine runs those that `policy.elsewhere` names."""
        return tuple(row for row in self._planned if row.requirement not in self.elsewhere)

    def runs_here(self, key: str, row: RuntimeRow) -> bool:
        """Returns whether the cell of an artifact, named `format/variant`, in a runtime is run on this machine."""
        if row.format != key.partition("/")[0]:
            return False
        return not any(each.of_format == row.requirement and each.covers(key) for each in self.elsewhere)

    def export_options(self, row: ExporterRow) -> Mapping[str, str | int | bool]:
        """Returns an exporter's options: the row's own options, then the format's section, then the variant's."""
        chosen = getattr(self, row.section).model_dump() if row.section else {}
        return {**row.options, **chosen, **self.variants.get(row.key, {})}

    @property
    def _planned(self) -> tuple[RuntimeRow, ...]:
        return planned((*self.formats, ORIGINAL), gpu=self.policy.gpu, tf32=self.policy.tf32, asked=self.demanded)


class Settings(Terms, _ReleaseFiles):
    """Defines a release: the model, the release directory, and the demands on it."""

    @property
    def release_dir(self) -> Path:
        """Returns the release directory."""
        return self.output or Path(f"{self.model.absolute().stem}.release")


def _requirements(cells: Sequence[str]) -> tuple[Requirement, ...]:
    return tuple(requirement_of(cell) for cell in cells)


def _section_of(row: ExporterRow) -> type[Section] | None:
    """Returns the section of `release.toml` with a row's options; None where the row has none."""
    return type(Terms.model_fields[row.section].default) if row.section else None


def load_settings(config: Path | None, overrides: Mapping[str, Any]) -> Settings:
    """Reads settings from `release.toml`, with overrides (the CLI's flags) on top.

    Args:
        config: the TOML file; paths in it are relative to it. None for defaults.
        overrides: nested like the model; None values are left out.

    Raises:
        BadInput: the file cannot be read, or a key or value is not valid.
    """
    values = read(config) if config else {}
    merge(values, overrides)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        where = str(config) if config else "settings"
        raise BadInput(
            f"{where}: {'; '.join(faults(error, Settings))}",
            next_step="`paritygate release --help` lists what is valid.",
        ) from error


def named_shapes(flags: Sequence[str] | None) -> dict[str, str] | None:
    """Parses `--input-shape NAME=AXIS,AXIS,...` into `Settings.input_shapes`; returns None without flags.

    Raises:
        BadInput: a flag has no name or no shape, or one name is given twice.
    """
    shapes: dict[str, str] = {}
    for flag in flags or ():
        name, equals, shape = flag.partition("=")
        if not (name and equals and shape) or name in shapes:
            what = "is given twice" if name in shapes else "is not NAME=AXIS,AXIS,..."
            raise BadInput(f"--input-shape {flag}: {what}", next_step="For example: --input-shape image=?,32,32,3")
        shapes[name] = shape
    return shapes or None
