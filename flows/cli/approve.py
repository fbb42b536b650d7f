"""`paritygate approve`: records a person's decision about a release."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from exporters.errors import BadInput
from flows.cli.app import app
from flows.cli.options import By, Digest, Json, Release, Why
from flows.cli.output import print_decision

if TYPE_CHECKING:
    from validators.release.attestations import Act

_EXAMPLES = """Examples:
  paritygate approve model.release --by "Ann Lee" --why "read the report"
      Approve a release that awaits a person.
  paritygate approve model.release --reject --by "Ann Lee" --why "wrong data"
      Reject it; only --force releases it afterwards.
  paritygate approve model.release --force --by "Ann Lee" --why "ticket 12"
      Release it although the gate refuses it; reports say FORCED.
"""


@app.command(help_epilogue=_EXAMPLES)
def approve(  # noqa: PLR0913 - one parameter for every flag
    release_dir: Release,
    /,
    *,
    by: By,
    why: Why,
    reject: Annotated[bool, Parameter(negative=(), help="Reject the release instead.")] = False,
    force: Annotated[
        bool, Parameter(negative=(), help="Release what the gate refuses; every later report says FORCED.")
    ] = False,
    digest: Digest = None,
    as_json: Json = False,
) -> int:
    """Approve, reject or force a release, with a name and a reason.

    A policy asks for an approval with `approval = true`. The decision is kept
    as attestations/approval-*.json, and the gate judges the release again.
    A release that the gate refuses can only be forced. Force overrides the
    reasons of that moment, no later one, and never a changed file. The exit
    code is the gate's.
    """
    from flows.review import decisions

    if reject and force:
        raise BadInput("--reject and --force contradict each other", next_step="Give one of them, or none.")
    act: Act = "rejected" if reject else "forced" if force else "approved"
    return print_decision(decisions.approve(release_dir, act=act, who=by, why=why, digest=digest), as_json=as_json)
