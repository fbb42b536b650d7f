"""`paritygate verify`: checks a release and runs its cells again."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.cli.app import app
from flows.cli.options import Digest, Json, comma_separated
from flows.cli.output import console, print_record

_EXAMPLES = """Examples:
  paritygate verify model.release --digest SHA256
      Check every file, then run every cell that this machine can run.
  paritygate verify model.release --device gpu --attest
      On a GPU machine: run its GPU cells and keep them in the release.
  paritygate verify model.release --formats onnx --runtimes onnxruntime
      Run one format in one runtime.
"""


@app.command(help_epilogue=_EXAMPLES)
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
    device: Annotated[str | None, Parameter(help="Only cells on this device, cpu or gpu; default: both.")] = None,
    runtimes: Annotated[
        list[str] | None,
        Parameter(
            consume_multiple=True,
            negative=(),
            help="Only cells in these runtimes, named as in `paritygate doctor`; default: all.",
        ),
    ] = None,
    attest: Annotated[
        bool,
        Parameter(
            negative=(),
            help="Keep the cells, passed or failed, in the release as attestations/cells-*.json.",
        ),
    ] = False,
    as_json: Json = False,
) -> int:
    """Check a release's digests, then run its cells again.

    Runs from the evidence in the release and does not need the model. A
    machine with the base and one of the extras litert, ort, ort-cuda,
    openvino or web can do it without TensorFlow. With --device or --runtimes
    only those cells count, together with the cells that policy.elsewhere asks
    for. Nothing is written into the release without --attest; `paritygate
    gate` judges it afterwards.
    """
    from flows.pipeline import verify
    from flows.progress.display import shown

    with shown(console(stderr=True)) as listen:
        report = verify.verify(
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
        verify.render(report, console())
    return report.verdict.exit_code
