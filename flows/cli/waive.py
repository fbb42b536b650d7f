"""`paritygate waive`: a cell that stands against a release no more, until a day."""

from datetime import date
from typing import Annotated

from cyclopts import Parameter

from exporters.errors import BadInput
from flows.cli.app import app
from flows.cli.options import By, Digest, Json, Release, Why
from flows.cli.output import print_decision


@app.command
def waive(  # noqa: PLR0913 - one parameter for every flag
    release_dir: Release,
    cell: Annotated[str, Parameter(help="`FORMAT RUNTIME DEVICE`, or `FORMAT/VARIANT RUNTIME DEVICE`, in quotes.")],
    /,
    *,
    until: Annotated[str, Parameter(help="YYYY-MM-DD, the last day on which it holds (UTC).")],
    by: By,
    why: Why,
    digest: Digest = None,
    as_json: Json = False,
) -> int:
    """Let a cell stand against a release no more, until a day.

    Writes attestations/waiver-*.json and judges the release again. The same
    in release.toml is [[policy.waivers]]. Exit code: the gate's.
    """
    from flows.review import decisions as decide
    from validators.contract import Waiver

    try:
        day = date.fromisoformat(until)
    except ValueError as error:
        raise BadInput(f"--until {until}: is no day", next_step="For example: --until 2027-01-31") from error
    waiver = Waiver(cell=cell, until=day, by=by, why=why)
    return print_decision(decide.waive(release_dir, waiver, digest=digest), as_json=as_json)
