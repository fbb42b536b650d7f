"""`paritygate compare`: shows two releases side by side."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.cli.app import app
from flows.cli.options import Json
from flows.cli.output import console, print_record

_EXAMPLES = """Examples:
  paritygate compare old.release model.release
      Show both releases side by side in the terminal.
  paritygate compare old.release model.release -o changes.html
      Write the comparison as a page for a browser.
"""


@app.command(help_epilogue=_EXAMPLES)
def compare(
    first: Annotated[Path, Parameter(help="A release directory, A.")],
    second: Annotated[Path, Parameter(help="The release directory to compare it with, B.")],
    /,
    *,
    output: Annotated[
        Path | None,
        Parameter(name=["--output", "-o"], help="Write the comparison into this file, as a page like report.html."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Show two releases side by side.

    Compares every cell's status and distance, sizes and call times with their
    ratio, and what differs between the models and the toolchains.
    Nothing is run, checked or decided.
    """
    from validators.release.manifest import load
    from validators.report import terminal
    from validators.report.view.comparison import compare_view

    manifests = load(first), load(second)
    comparison = compare_view((str(first), str(second)), *manifests)
    if output is not None:
        from validators.report.html import render_comparison

        output.write_text(render_comparison(comparison, *manifests), "utf-8")
    if as_json:
        print_record(comparison)
    elif output is None:
        terminal.render_comparison(comparison, console())
    else:
        console().print(output, soft_wrap=True)
    return 0
