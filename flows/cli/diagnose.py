"""`paritygate diagnose`: which layer a failed cell's artifact gets wrong."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.cli.app import app
from flows.cli.options import Architecture, Json
from flows.cli.output import console, print_record


@app.command
def diagnose(  # noqa: PLR0913 - one parameter for every flag
    release_dir: Annotated[Path, Parameter(help="A directory that `paritygate release` wrote.")],
    cell: Annotated[str, Parameter(help="The cell, as its report names it: 'onnx/default onnxruntime cpu'.")],
    /,
    *,
    model: Annotated[
        Path | None,
        Parameter(help="The model that the release was made from; default: the file of its name beside it, or here."),
    ] = None,
    architecture: Architecture = None,
    custom_objects: Annotated[
        list[str] | None, Parameter(consume_multiple=True, negative=(), help="As for `release`.")
    ] = None,
    trust_lambda: Annotated[bool | None, Parameter(negative=(), help="As for `release`.")] = None,
    input_shape: Annotated[
        list[str] | None, Parameter(consume_multiple=True, negative=(), help="As for `release`.")
    ] = None,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="Reproduction folder; default CELL.repro here.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Find the layer that a failed cell's artifact gets wrong, and show it.

    Runs the cell again, then the original and the artifact side by side, layer
    by layer, the suspect alone, and the cell with the runtime's settings
    changed. Writes a folder that shows the difference with the stock libraries
    alone. Nothing in the release is changed. Ends with 0 when it names what is
    at fault or the cell passes, 1 when it cannot tell.
    """
    from flows import diagnose as diagnosis
    from flows.config.settings import named_shapes
    from flows.progress.display import shown

    loading = {
        "architecture": architecture,
        "custom_objects": custom_objects,
        "trust_lambda": trust_lambda,
        "input_shapes": named_shapes(input_shape),
    }
    with shown(console(stderr=True)) as listen:
        found = diagnosis.diagnose(release_dir, cell, model=model, loading=loading, output=output, listen=listen)
    if as_json:
        print_record(found)
    else:
        diagnosis.render(found, console())
    return 1 if found.verdict == "unknown" else 0
