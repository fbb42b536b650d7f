"""`paritygate waive`: waives a cell of a release until a date."""

from datetime import date
from typing import Annotated

from cyclopts import Parameter

from exporters.errors import BadInput
from flows.cli.app import app
from flows.cli.options import By, Digest, Json, Release, Why
from flows.cli.output import print_decision

_EXAMPLES = """Examples:
  paritygate waive m.release "tfjs tfjs-wasm cpu" \\
      --until 2027-01-31 --by "Ann Lee" --why "no kernel for Einsum yet"
      Waive this cell of every variant until the end of January.
  paritygate waive m.release "tflite/batch1 litert-xnnpack cpu" \\
      --until 2027-01-31 --by "Ann Lee" --why "ticket 12"
      Waive the cell of one variant.
"""


@app.command(help_epilogue=_EXAMPLES)
def waive(  # noqa: PLR0913 - one parameter for every flag
    release_dir: Release,
    cell: Annotated[str, Parameter(help="`FORMAT RUNTIME DEVICE`, or `FORMAT/VARIANT RUNTIME DEVICE`, in quotes.")],
    /,
    *,
    until: Annotated[str, Parameter(help="YYYY-MM-DD, the last day of the waiver (UTC).")],
    by: By,
    why: Why,
    digest: Digest = None,
    as_json: Json = False,
) -> int:
    """Waive a cell until a date, with a name and a reason.

    Writes attestations/waiver-*.json, and the gate judges the release again.
    [[policy.waivers]] in release.toml does the same for every release. The
    exit code is the gate's.
    """
    from flows.review import decisions
    from validators.contract import Waiver

    try:
        day = date.fromisoformat(until)
    except ValueError as error:
        raise BadInput(f"--until {until}: is not a date", next_step="For example: --until 2027-01-31") from error
    waiver = Waiver(cell=cell, until=day, by=by, why=why)
    return print_decision(decisions.waive(release_dir, waiver, digest=digest), as_json=as_json)
