"""Declares flags that several commands share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter, Token

from exporters.formats.registry import FORMATS

if TYPE_CHECKING:
    from flows.config.settings import Settings

Architecture = Annotated[
    str | None,
    Parameter(
        help="For MODEL that holds only weights (`.weights.h5`, `.h5`, a TensorFlow checkpoint): model.json, or your "
        "function that returns the model, PACKAGE.MODULE:FUNCTION or FILE.py:FUNCTION."
    ),
]
Config = Annotated[Path | None, Parameter(help="release.toml: policy, tolerances, limits, options.")]
Samples = Annotated[
    Path | None, Parameter(help="`.npz` or folder of `.npy`, one array per input; default: seeded samples.")
]


def comma_separated(_: object, tokens: Sequence[Token]) -> list[str]:
    """Returns the values of a flag that may stand apart, in several flags, or with commas between them."""
    return [name.strip() for token in tokens for name in token.value.split(",")]


Formats = Annotated[
    list[str] | None,
    Parameter(
        consume_multiple=True,
        negative=(),
        converter=comma_separated,
        help=f"{', '.join(FORMATS)}, or one variant such as tflite/batch1; default: all.",
    ),
]
CustomObjects = Annotated[
    list[str] | None,
    Parameter(
        consume_multiple=True,
        negative=(),
        help="Modules or `.py` files with the model's own layers; they run in the worker.",
    ),
]
TrustLambda = Annotated[
    bool | None, Parameter(negative=(), help="Let Lambda layers run the bytecode stored in the file.")
]
InputShape = Annotated[
    list[str] | None,
    Parameter(
        consume_multiple=True,
        negative=(),
        help="NAME=AXIS,AXIS,... for a file that does not say its input shape; ? is an open axis.",
    ),
]
GpuChoice = Annotated[
    Literal["any", "hardware", "off"] | None,
    Parameter(help="What counts as a GPU: any adapter (default), only real cards, or run no GPU cell."),
]
Baseline = Annotated[
    Path | None,
    Parameter(help="Last release directory; refuse regressions beyond policy.baseline."),
]
Release = Annotated[Path, Parameter(help="A directory that `paritygate release` wrote.")]
By = Annotated[str, Parameter(help="Who decides; kept with the release.")]
Why = Annotated[str, Parameter(help="The reason; kept with the release.")]
Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON on stdout and nothing else.")]
Digest = Annotated[
    str | None, Parameter(help="SHA-256 of release.json, as `release` printed it; another one is refused.")
]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """Groups the flags of `release` and `submit` that become settings of the release."""

    architecture: Architecture = None
    config: Config = None
    samples: Samples = None
    formats: Formats = None
    custom_objects: CustomObjects = None
    trust_lambda: TrustLambda = None
    input_shape: InputShape = None
    gpu: GpuChoice = None
    baseline: Baseline = None

    def settings(self, model: Path, output: Path | None) -> "Settings":
        """Reads release.toml and applies the flags on top.

        Args:
            model: the model to release.
            output: the release directory; None for the default.

        Returns:
            The settings of the release.

        Raises:
            BadInput: release.toml or a flag is not valid.
        """
        from flows.config.settings import load_settings, named_shapes

        return load_settings(
            self.config,
            {
                "model": model,
                "architecture": self.architecture,
                "output": output,
                "samples": {"path": self.samples},
                "formats": self.formats,
                "custom_objects": self.custom_objects,
                "trust_lambda": self.trust_lambda,
                "input_shapes": named_shapes(self.input_shape),
                "policy": {"gpu": self.gpu},
                "baseline": self.baseline,
            },
        )
