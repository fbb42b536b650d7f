"""`paritygate sweep`: a release for every model of a folder."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.cli.app import app
from flows.cli.options import Formats, Json
from flows.cli.output import console, print_bytes


@app.command
def sweep(  # noqa: PLR0913 - one parameter for every flag
    folder: Annotated[Path, Parameter(help="Searched for model files, with everything below it.")],
    /,
    *,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="The sweep's directory; default FOLDER.sweep here.")
    ] = None,
    config: Annotated[Path | None, Parameter(help="release.toml, the same for every model.")] = None,
    formats: Formats = None,
    jobs: Annotated[
        int | None, Parameter(help="How many releases run side by side; default: one for every four cores.")
    ] = None,
    pattern: Annotated[
        str | None,
        Parameter(help="Of the file names; default: *.keras, *.h5, *.hdf5 and SavedModel folders."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Release every model below FOLDER, and show what came of each in one table.

    Each goes into a directory of its own, NAME-DIGEST.release, and no model's
    end stops another. sweep.json is written after every model: the same
    command goes on where it stopped, and does again only what has changed.
    Exit code 0: every model is proven in every format; 1: not every one; 3:
    something errored. Never runs under Prefect.
    """
    from flows import batch as sweeping

    with sweeping.shown(console(stderr=True)) as progress:
        directory, swept = sweeping.sweep(
            folder, output=output, config=config, formats=formats, pattern=pattern, jobs=jobs, progress=progress
        )
    if as_json:
        print_bytes((directory / sweeping.RECORD).read_bytes())
    else:
        sweeping.render(swept, console(), folder=directory)
    return swept.exit_code
