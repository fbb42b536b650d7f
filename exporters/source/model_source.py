"""Names an admitted model and how the user wants it loaded: what every job that loads one is given."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

Shape = tuple[int | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """Names a stored model, and the user's settings for loading it.

    Attributes:
        path: the file, folder or checkpoint prefix.
        architecture: for weights without one, a `model.json` or a function, `PACKAGE.MODULE:FUNCTION` or
            `FILE.py:FUNCTION`; None where the file holds its own.
        custom_objects: modules (`package.module`) or Python files with the user's own layers and functions.
        trust_lambda: whether Lambda layers may run their stored bytecode.
        input_shapes: input name -> shape, batch axis first, None for dynamic; for a model whose file does not say.
    """

    path: Path
    architecture: str | None = None
    custom_objects: tuple[str, ...] = ()
    trust_lambda: bool = False
    input_shapes: Mapping[str, Shape] = field(default_factory=dict)
