"""`paritygate inspect`: what a model declares."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.cli.app import app
from flows.cli.options import Architecture, Json
from flows.cli.output import console, print_record


@app.command
def inspect(
    model: Annotated[Path, Parameter(help="As for `release`.")],
    /,
    *,
    architecture: Architecture = None,
    as_json: Json = False,
) -> int:
    """Show what a model declares, without importing TensorFlow.

    Signature, layers by kind, parameters, sizes, Keras version, custom objects and Lambdas.
    """
    from flows.machine import inspection

    facts = inspection.inspect(model, architecture)
    if as_json:
        print_record(facts)
    else:
        inspection.render(facts, console())
    return 0
