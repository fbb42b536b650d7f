"""`paritygate sweep`: releases every model of a folder."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.cli.app import app
from flows.cli.options import Formats, Json
from flows.cli.output import console, print_bytes

_EXAMPLES = """Examples:
  paritygate sweep models/
      Release all models below models/ into models.sweep/.
  paritygate sweep models/ --pattern "best*.keras" --formats onnx tflite
      Only some files, only two formats.
  paritygate sweep models/ --config release.toml --jobs 4
      One configuration for all, four releases at a time.
"""


@app.command(help_epilogue=_EXAMPLES)
def sweep(  # noqa: PLR0913 - one parameter for every flag
    folder: Annotated[Path, Parameter(help="Folder that is searched for models, with its subfolders.")],
    /,
    *,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="The sweep's directory; default FOLDER.sweep here.")
    ] = None,
    config: Annotated[Path | None, Parameter(help="release.toml, the same for every model.")] = None,
    formats: Formats = None,
    jobs: Annotated[
        int | None, Parameter(help="How many releases run at the same time; default: one for every four cores.")
    ] = None,
    pattern: Annotated[
        str | None,
        Parameter(help="Pattern of file names; default: *.keras, *.h5, *.hdf5 and SavedModel folders."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Release every model of a folder, with one table of results.

    Each model gets a directory NAME-DIGEST.release, and a failure stops no
    other model. sweep.json is written after every model, so the same command
    continues where it stopped and repeats only what has changed. Runs without
    Prefect. Exit code 0: every model is proven in every format; 1: some are
    not; 3: something broke.
    """
    from flows import batch

    with batch.shown(console(stderr=True)) as progress:
        directory, swept = batch.sweep(
            folder, output=output, config=config, formats=formats, pattern=pattern, jobs=jobs, progress=progress
        )
    if as_json:
        print_bytes((directory / batch.RECORD).read_bytes())
    else:
        batch.render(swept, console(), folder=directory)
    return swept.exit_code
