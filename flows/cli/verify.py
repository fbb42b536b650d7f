"""`paritygate verify`: the digests and the cells of a release again."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.cli.app import app
from flows.cli.options import Digest, Json, comma_separated
from flows.cli.output import console, print_record


@app.command
def verify(  # noqa: PLR0913 - one parameter for every flag
    release_dir: Annotated[Path, Parameter(help="A directory that `paritygate release` wrote.")],
    /,
    *,
    digest: Digest = None,
    formats: Annotated[
        list[str] | None,
        Parameter(
            consume_multiple=True,
            negative=(),
            converter=comma_separated,
            help="Only these formats, or variants such as tflite/batch1; default: all that the release has.",
        ),
    ] = None,
    device: Annotated[str | None, Parameter(help="Only cells on this device: cpu or gpu; default: both.")] = None,
    runtimes: Annotated[
        list[str] | None,
        Parameter(
            consume_multiple=True,
            negative=(),
            help="Only cells in these runtimes, as `paritygate doctor` names them; default: all.",
        ),
    ] = None,
    attest: Annotated[
        bool,
        Parameter(
            negative=(),
            help="Keep the cells in the release, whatever came of them, as attestations/cells-*.json.",
        ),
    ] = False,
    as_json: Json = False,
) -> int:
    """Check every digest of a release, then run its cells again from the evidence alone.

    Needs neither the model nor, for formats whose runtimes do without,
    TensorFlow: the base and one of the extras litert, ort, ort-cuda, web will
    do. With --device or --runtimes only the cells named count, and the ones
    that the policy demands from elsewhere are due. Writes nothing into the
    release unless --attest is given; `paritygate gate` then judges it again.
    """
    from flows.pipeline import verify as verification
    from flows.progress.display import shown

    with shown(console(stderr=True)) as listen:
        report = verification.verify(
            release_dir,
            digest=digest,
            formats=formats,
            device=device,
            runtimes=runtimes,
            attest=attest,
            listen=listen,
        )
    if as_json:
        print_record(report)
    else:
        verification.render(report, console())
    return report.verdict.exit_code
