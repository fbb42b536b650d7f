"""Flags that several commands share."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

Architecture = Annotated[
    str | None,
    Parameter(
        help="Where MODEL is weights alone (`.weights.h5`, `.h5`, a TensorFlow checkpoint): model.json, or your "
        "function that returns the model, PACKAGE.MODULE:FUNCTION or FILE.py:FUNCTION."
    ),
]
Release = Annotated[Path, Parameter(help="A directory that `paritygate release` wrote.")]
By = Annotated[str, Parameter(help="Who decides; kept with the release.")]
Why = Annotated[str, Parameter(help="The reason; kept with the release.")]
Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON on stdout and nothing else.")]
Digest = Annotated[str | None, Parameter(help="SHA-256 of its release.json, as you were told it when it was released.")]
