"""`paritygate gate`: judges a release again, with its attestations."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.cli.app import app
from flows.cli.options import Digest, Json
from flows.cli.output import console, print_record

_EXAMPLES = """Examples:
  paritygate gate model.release
      Judge the release with cells, approvals and waivers added later.
  paritygate gate model.release --digest SHA256
      Refuse a release.json that is not the one you were told of.
"""


@app.command(help_epilogue=_EXAMPLES)
def gate(
    release_dir: Annotated[Path, Parameter(help="A directory that `paritygate release` wrote.")],
    /,
    *,
    digest: Digest = None,
    as_json: Json = False,
) -> int:
    """Judge a release again, with its attestations; run nothing.

    Checks every digest and reads the cells that `paritygate verify --attest`
    added on other machines. Says what is still missing and which command adds
    it. A cell that failed on any machine refuses the release. Attestations are
    not signed yet: anyone who can write into the folder can add or remove one.
    """
    from flows.review import gate

    report = gate.gate(release_dir, digest=digest)
    if as_json:
        print_record(report)
    else:
        gate.render(report, console())
    return report.verdict.exit_code
