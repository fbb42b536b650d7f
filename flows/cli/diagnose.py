"""`paritygate diagnose`: finds the layer that a failed cell gets wrong."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.cli.app import app
from flows.cli.options import Architecture, CustomObjects, InputShape, Json, TrustLambda
from flows.cli.output import console, print_record

_EXAMPLES = """Examples:
  paritygate diagnose model.release "onnx/default onnxruntime cpu"
      Diagnose one cell, named as the report names it.
  paritygate diagnose model.release "onnx/default onnxruntime cpu" \\
      --model models/model.keras
      Say where the model is; its digest has to match the release.
  paritygate diagnose model.release "tfjs/default tfjs-wasm cpu" -o repro
      Write the reproduction into repro/.
"""


@app.command(help_epilogue=_EXAMPLES)
def diagnose(  # noqa: PLR0913 - one parameter for every flag
    release_dir: Annotated[Path, Parameter(help="A directory that `paritygate release` wrote.")],
    cell: Annotated[str, Parameter(help="The cell, as its report names it: 'onnx/default onnxruntime cpu'.")],
    /,
    *,
    model: Annotated[
        Path | None,
        Parameter(help="The model of the release; default: the file of its name, next to the release or here."),
    ] = None,
    architecture: Architecture = None,
    custom_objects: CustomObjects = None,
    trust_lambda: TrustLambda = None,
    input_shape: InputShape = None,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="Reproduction folder; default CELL.repro here.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Find the layer that a failed cell's artifact gets wrong.

    Runs the cell again, compares the artifact with the original layer by
    layer, isolates the suspect, and changes the runtime's settings one by one.
    Writes a folder that reproduces the difference with the stock libraries
    only. Nothing in the release is changed. Exit code 0: the fault is named,
    or the cell passes here; 1: no layer could be named.
    """
    from flows import diagnose
    from flows.config.settings import named_shapes
    from flows.progress.display import shown

    loading = diagnose.ModelLoading(
        architecture=architecture,
        custom_objects=custom_objects,
        trust_lambda=trust_lambda,
        input_shapes=named_shapes(input_shape),
    )
    with shown(console(stderr=True)) as listen:
        found = diagnose.diagnose(release_dir, cell, model=model, loading=loading, output=output, listen=listen)
    if as_json:
        print_record(found)
    else:
        diagnose.render(found, console())
    return 1 if found.verdict == "unknown" else 0
