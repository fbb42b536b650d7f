"""`paritygate gate`: a release judged again with its attestations."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.cli.app import app
from flows.cli.options import Digest, Json
from flows.cli.output import console, print_record


@app.command
def gate(
    release_dir: Annotated[Path, Parameter(help="A directory that `paritygate release` wrote.")],
    /,
    *,
    digest: Digest = None,
    as_json: Json = False,
) -> int:
    """Judge a release again, together with its attestations; nothing is run.

    Checks every digest, reads what `paritygate verify --attest` brought from
    other machines, and says what is still awaited and which command brings
    it. A cell that failed on any machine refuses the release. Attestations are
    not signed yet: whoever can write into the folder can write or remove one.
    """
    from flows.review import gate as judgement

    report = judgement.gate(release_dir, digest=digest)
    if as_json:
        print_record(report)
    else:
        judgement.render(report, console())
    return report.verdict.exit_code
