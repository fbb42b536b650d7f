"""Defines `paritygate approve`: records a person's decision about a release in it."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from exporters.errors import BadInput
from flows.cli.app import app
from flows.cli.options import By, Digest, Json, Release, Why
from flows.cli.output import print_decision

if TYPE_CHECKING:
    from validators.release.attestations import Act


@app.command
def approve(  # noqa: PLR0913 - one parameter for every flag
    release_dir: Release,
    /,
    *,
    by: By,
    why: Why,
    reject: Annotated[bool, Parameter(negative=(), help="Say no instead.")] = False,
    force: Annotated[
        bool, Parameter(negative=(), help="Let out what the gate refuses; every later look at it says FORCED.")
    ] = False,
    digest: Digest = None,
    as_json: Json = False,
) -> int:
    """Approve a release, for policies that demand it (policy.approval).

    Writes attestations/approval-*.json and judges the release again. What the
    gate refuses cannot be approved, only forced: that overrides what stands
    against it now and nothing that comes up later, and never a file that was
    changed. Exit code: the gate's.
    """
    from flows.review import decisions as decide

    if reject and force:
        raise BadInput("--reject and --force contradict each other", next_step="Give one of them, or none.")
    act: Act = "rejected" if reject else "forced" if force else "approved"
    return print_decision(decide.approve(release_dir, act=act, who=by, why=why, digest=digest), as_json=as_json)
