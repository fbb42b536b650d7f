"""`paritygate inspect`: shows what a model file declares."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.cli.app import app
from flows.cli.options import Architecture, Json
from flows.cli.output import console, print_record

_EXAMPLES = """Examples:
  paritygate inspect model.keras
      Show inputs, outputs, layers and custom objects.
  paritygate inspect model.weights.h5 --architecture model.json
      Show weights with the architecture that belongs to them.
"""


@app.command(help_epilogue=_EXAMPLES)
def inspect(
    model: Annotated[
        Path, Parameter(help="A `.keras` or `.h5` file, a SavedModel folder of Keras; weights with --architecture.")
    ],
    /,
    *,
    architecture: Architecture = None,
    as_json: Json = False,
) -> int:
    """Show what a model file declares, without TensorFlow.

    Lists signature, layers by kind, parameters, sizes, Keras version, custom
    objects and Lambda layers. No code of the model runs.
    """
    from flows.machine import inspection

    facts = inspection.inspect(model, architecture)
    if as_json:
        print_record(facts)
    else:
        inspection.render(facts, console())
    return 0
