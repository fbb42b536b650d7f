"""`paritygate compare`: two releases side by side."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.cli.app import app
from flows.cli.options import Json
from flows.cli.output import console, print_record


@app.command
def compare(
    first: Annotated[Path, Parameter(help="A release directory, A.")],
    second: Annotated[Path, Parameter(help="Another one, B.")],
    /,
    *,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="Write the comparison as an HTML page into this file.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Show two releases side by side; nothing is run, checked or decided.

    Every cell with its status and distance in both, sizes and call times with
    their ratio, and what differs of model and toolchain. With -o as a page of
    its own, in the form of report.html.
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
