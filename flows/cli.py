"""The command line: `paritygate release | sweep | verify | gate | submit | inspect | doctor`.

In: arguments. Out: the result on stdout, progress and errors on stderr, and an exit code (see `_CODES`). Everything
heavy is imported inside the command that needs it, so that `--help` answers at once.
"""

import json
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import cyclopts
from cyclopts import App, Parameter

from exporters.errors import BadInput, Broken, Limited, ParitygateError
from exporters.registry import FORMATS

if TYPE_CHECKING:
    from rich.console import Console

    from flows.run import ReleaseRun
    from flows.settings import Settings

_EXAMPLES = """Examples (results go to model.release/ unless -o says otherwise):
  paritygate release model.keras --samples held_out.npz
  paritygate release model.keras --formats onnx tflite -o out
  paritygate release model.keras --config release.toml
  paritygate release model.weights.h5 --architecture model.json
  paritygate release model.keras --json --no-prefect   # in a CI gate
  paritygate sweep models/                      # every model below a folder
  paritygate verify model.release --digest SHA256
  paritygate verify model.release --device gpu --attest  # on a GPU box
  paritygate gate model.release --digest SHA256   # judge again with that
"""
_CODES = """Exit codes:
  0    released (verify: confirmed): every required cell passed
  1    refused: a required cell failed, is limited or unavailable,
       or awaited from another machine, or a digest does not match
  2    bad input: model, samples, configuration or command line
       are at fault; nothing was run
  3    broken: an exporter, a runtime or the machine failed
  130  stopped by Ctrl-C, 143 by TERM; nothing is left behind
"""


def _version() -> str:
    from importlib.metadata import version

    return version("paritygate")


app = App(
    name="paritygate",
    help="Exports a trained Keras model to SavedModel, TF Lite, TF.js and ONNX, and releases it only when every copy "
    "provably computes the same thing.",
    version=_version,
    help_format="plaintext",
    help_epilogue=f"{_EXAMPLES}\n{_CODES}",
)
_Architecture = Annotated[
    str | None,
    Parameter(
        help="Where MODEL is weights alone (`.weights.h5`, `.h5`, a TensorFlow checkpoint): model.json, or your "
        "function that returns the model, PACKAGE.MODULE:FUNCTION or FILE.py:FUNCTION."
    ),
]
_Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON on stdout and nothing else.")]


class Interrupted(BaseException):
    """TERM or Ctrl-C. Not an Exception: nothing on the way to the top may take it for a failure of its own."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def main(arguments: list[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: without the program's name; the process's own when None.

    Returns:
        The exit code.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in arguments
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, _interrupt)
    try:
        return app(arguments, exit_on_error=False, print_error=False, result_action="return_value") or 0
    except Interrupted as interruption:
        name = signal.Signals(interruption.signum).name
        sys.stderr.write(f"paritygate: stopped by {name}; no process and no unfinished release is left\n")
        return 128 + interruption.signum
    except cyclopts.CycloptsError as error:
        usage = BadInput(str(error).strip(), next_step="`paritygate --help` and `paritygate COMMAND --help` say more.")
        return _tell(usage, as_json=as_json)
    except ParitygateError as error:
        return _tell(error, as_json=as_json)
    except OSError as error:
        return _tell(Broken(str(error), next_step="Check free space and permissions."), as_json=as_json)
    except Exception as error:  # noqa: BLE001 - the process boundary: a bug of ours, said so
        bug = Broken(
            f"this is a bug in paritygate: {type(error).__name__}: {error}",
            next_step="Please report it with the traceback, which stands on stderr.",
        )
        code = _tell(bug, as_json=as_json)
        traceback.print_exc()
        return code


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    del frame
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)  # a second Ctrl-C must not break off the cleaning up
    raise Interrupted(signum)


def _tell(error: ParitygateError, *, as_json: bool) -> int:
    """Prints an error and returns its exit code."""
    code, kind = (2, "bad input") if isinstance(error, BadInput) else (3, "broken")
    if isinstance(error, Limited):
        code, kind = 1, "refused"
    if as_json:
        said = {"code": code, "kind": kind, "message": error.message, "next_step": error.next_step}
        _print_bytes(json.dumps({"error": said}, indent=1).encode() + b"\n")
    sys.stderr.write(f"paritygate: {kind}: {_safe(str(error))}\n")
    return code


def _safe(text: str) -> str:
    from validators.report.text import printable

    return printable(text)


@app.command
def release(  # noqa: PLR0913 - one parameter for every flag
    model: Annotated[
        Path, Parameter(help="A `.keras` or `.h5` file, a SavedModel folder of Keras; weights with --architecture.")
    ],
    /,
    *,
    architecture: _Architecture = None,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="Release directory; default NAME.release here.")
    ] = None,
    config: Annotated[Path | None, Parameter(help="release.toml: policy, tolerances, limits, options.")] = None,
    samples: Annotated[
        Path | None, Parameter(help="`.npz` or folder of `.npy`, one array per input; default: seeded samples.")
    ] = None,
    formats: Annotated[
        list[str] | None,
        Parameter(consume_multiple=True, negative=(), help=f"{', '.join(FORMATS)}; default: all."),
    ] = None,
    custom_objects: Annotated[
        list[str] | None,
        Parameter(
            consume_multiple=True,
            negative=(),
            help="Modules or `.py` files with the model's own layers; they run in the worker.",
        ),
    ] = None,
    trust_lambda: Annotated[
        bool | None, Parameter(negative=(), help="Let Lambda layers run the bytecode stored in the file.")
    ] = None,
    input_shape: Annotated[
        list[str] | None,
        Parameter(
            consume_multiple=True,
            negative=(),
            help="NAME=AXIS,AXIS,... for a model whose file does not say its shape; ? is a free axis.",
        ),
    ] = None,
    gpu: Annotated[
        Literal["any", "hardware", "off"] | None,
        Parameter(help="What counts as a GPU: any adapter (default), real cards alone, or run no GPU cell."),
    ] = None,
    no_prefect: Annotated[bool, Parameter(negative=(), help="Run the same stages without a Prefect server.")] = False,
    as_json: _Json = False,
) -> int:
    """Export MODEL, run every copy against it, release it only if all agree.

    Runs as a Prefect flow on the server that PREFECT_API_URL names, else on
    an embedded one. Flags win over release.toml. An older release in the same
    directory makes way, to a finished one only.
    """
    from flows.settings import load_settings, named_shapes

    flags = {
        "model": model,
        "architecture": architecture,
        "output": output,
        "samples": {"path": samples},
        "formats": formats,
        "custom_objects": custom_objects,
        "trust_lambda": trust_lambda,
        "input_shapes": named_shapes(input_shape),
        "policy": {"gpu": gpu},
    }
    settings = load_settings(config, flags)
    try:
        run = _released(settings, prefect=not no_prefect)
    except OSError as error:
        raise Broken(
            f"{settings.release_dir}: cannot be written: {error}", next_step="Check free space and permissions there."
        ) from error
    manifest = run.manifest
    if manifest is None:
        raise Broken("the run ended without a verdict")
    if as_json and run.judged is None:
        _print_bytes((settings.release_dir / "release.json").read_bytes())
    elif as_json:  # the exit code is the gate's, and release.json still awaits
        _print_record(run.judged)
    else:
        from validators.report import terminal

        terminal.render(manifest, _console(), release_dir=settings.release_dir, digest=run.digest)
    if run.judged is None:
        return manifest.verdict.exit_code
    if not as_json:
        from flows import gate as gating

        console = _console()
        console.print()
        gating.render(run.judged, console)
    return run.judged.verdict.exit_code


def _released(settings: "Settings", *, prefect: bool) -> "ReleaseRun":
    """Runs the release under Prefect or on threads; both engines get the same stages."""
    from importlib.util import find_spec

    from flows.display import shown
    from flows.run import ReleaseRun
    from flows.stages import run_on_threads

    if prefect and find_spec("prefect") is None:
        raise Broken(
            "Prefect is not installed", next_step="pip install 'paritygate[flow]', or --no-prefect to do without it."
        )
    _refuse_pool_out_of_reach(settings, prefect=prefect)
    with shown(_console(stderr=True)) as listen, ReleaseRun(settings, listen) as run:
        run.warm_up()
        if not prefect:
            run_on_threads(run.stages(), cancel=run.cancel)
            return run
        from flows import prefect_home

        with prefect_home.api():
            with prefect_home.importing():
                from flows.release import release_in_prefect
            release_in_prefect(run)
    return run


def _refuse_pool_out_of_reach(settings: "Settings", *, prefect: bool) -> None:
    """Says before anything starts that no worker could ever take the cells of `policy.elsewhere`."""
    import os

    if not settings.policy.gpu_pool or (prefect and os.environ.get("PREFECT_API_URL")):
        return
    why = (
        "PREFECT_API_URL is not set, and no worker reaches the embedded server" if prefect else "--no-prefect was given"
    )
    raise BadInput(
        f"policy.gpu_pool names the work pool {settings.policy.gpu_pool!r}, which needs a Prefect server: {why}",
        next_step="Set PREFECT_API_URL to the server of the pool; or leave policy.gpu_pool out, run `paritygate verify "
        "RELEASE_DIR --attest` on the other machine and then `paritygate gate RELEASE_DIR`.",
    )


@app.command
def sweep(  # noqa: PLR0913 - one parameter for every flag
    folder: Annotated[Path, Parameter(help="Searched for model files, with everything below it.")],
    /,
    *,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="The sweep's directory; default FOLDER.sweep here.")
    ] = None,
    config: Annotated[Path | None, Parameter(help="release.toml, the same for every model.")] = None,
    formats: Annotated[
        list[str] | None,
        Parameter(consume_multiple=True, negative=(), help=f"{', '.join(FORMATS)}; default: all."),
    ] = None,
    jobs: Annotated[
        int | None, Parameter(help="How many releases run side by side; default: one for every four cores.")
    ] = None,
    pattern: Annotated[
        str | None,
        Parameter(help="Of the file names; default: *.keras, *.h5, *.hdf5 and SavedModel folders."),
    ] = None,
    as_json: _Json = False,
) -> int:
    """Release every model below FOLDER, and show what came of each in one table.

    Each goes into a directory of its own, NAME-DIGEST.release, and no model's
    end stops another. sweep.json is written after every model: the same
    command goes on where it stopped, and does again only what has changed.
    Exit code 0: every model is proven in every format; 1: not every one; 3:
    something errored. Never runs under Prefect.
    """
    from flows import sweep as sweeping

    with sweeping.shown(_console(stderr=True)) as progress:
        directory, swept = sweeping.sweep(
            folder, output=output, config=config, formats=formats, pattern=pattern, jobs=jobs, progress=progress
        )
    if as_json:
        _print_bytes((directory / sweeping.RECORD).read_bytes())
    else:
        sweeping.render(swept, _console(), folder=directory)
    return swept.exit_code


@app.command
def inspect(
    model: Annotated[Path, Parameter(help="As for `release`.")],
    /,
    *,
    architecture: _Architecture = None,
    as_json: _Json = False,
) -> int:
    """Show what a model declares, without importing TensorFlow.

    Signature, layers by kind, parameters, sizes, Keras version, custom objects and Lambdas.
    """
    from flows import inspect as inspection

    facts = inspection.inspect(model, architecture)
    if as_json:
        _print_record(facts)
    else:
        inspection.render(facts, _console())
    return 0


_Digest = Annotated[
    str | None, Parameter(help="SHA-256 of its release.json, as you were told it when it was released.")
]


@app.command
def verify(  # noqa: PLR0913 - one parameter for every flag
    release_dir: Annotated[Path, Parameter(help="A directory that `paritygate release` wrote.")],
    /,
    *,
    digest: _Digest = None,
    formats: Annotated[
        list[str] | None,
        Parameter(consume_multiple=True, negative=(), help="Only these formats; default: all that the release has."),
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
    as_json: _Json = False,
) -> int:
    """Check every digest of a release, then run its cells again from the evidence alone.

    Needs neither the model nor, for formats whose runtimes do without,
    TensorFlow: the base and one of the extras litert, ort, ort-cuda, web will
    do. With --device or --runtimes only the cells named count, and the ones
    that the policy demands from elsewhere are due. Writes nothing into the
    release unless --attest is given; `paritygate gate` then judges it again.
    """
    from flows import verify as verification
    from flows.display import shown

    with shown(_console(stderr=True)) as listen:
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
        _print_record(report)
    else:
        verification.render(report, _console())
    return report.verdict.exit_code


@app.command
def submit(  # noqa: PLR0913 - one parameter for every flag
    model: Annotated[Path, Parameter(help="The trained model file.")],
    /,
    *,
    output: Annotated[
        Path | None,
        Parameter(name=["--output", "-o"], help="Release directory; default: the deployment's folder of releases."),
    ] = None,
    config: Annotated[Path | None, Parameter(help="release.toml: policy, tolerances, limits, options.")] = None,
    samples: Annotated[Path | None, Parameter(help="`.npz` or folder of `.npy`, one array per input.")] = None,
    custom_objects: Annotated[
        list[str] | None,
        Parameter(consume_multiple=True, negative=(), help="Modules or `.py` files with the model's own layers."),
    ] = None,
    architecture: Annotated[
        str | None, Parameter(help="For weights alone: model.json, or a function, as for release.")
    ] = None,
    storage: Annotated[
        str | None,
        Parameter(help="Folder or bucket (s3://...) that the workers reach; default: they see the paths given here."),
    ] = None,
    deployment: Annotated[str, Parameter(help="FLOW/NAME of the deployment that runs it.")] = "release/manual",
    wait: Annotated[bool, Parameter(negative=(), help="Follow the run and end with the verdict's exit code.")] = False,
    as_json: _Json = False,
) -> int:
    """Hand MODEL to the Prefect installation that PREFECT_API_URL names.

    The same files under the same terms are one run, however often they are
    submitted. Without --wait the exit code is 0 once the server has the run.
    """
    import os

    from flows import prefect_home
    from flows.settings import load_settings

    if not os.environ.get("PREFECT_API_URL"):
        raise BadInput(
            "PREFECT_API_URL names no Prefect server",
            next_step="`make server` starts one here; `paritygate release` needs none.",
        )
    named = {
        "model": model,
        "architecture": architecture,
        "output": output,
        "samples": {"path": samples},
        "custom_objects": custom_objects,
    }
    settings = load_settings(config, named)
    with prefect_home.api():
        with prefect_home.importing():
            from flows import submit as submission
        done = submission.submit(settings, storage=storage, deployment=deployment)
        console = _console(stderr=True)
        console.print(_safe(f"{done.name}: {done.state}  {done.url}"), markup=False, soft_wrap=True)
        if wait:
            say = lambda now: console.print(_safe(f"{now.name}: {now.state}"), markup=False, soft_wrap=True)  # noqa: E731
            done = submission.follow(done, say)
    if as_json:
        _print_record(done)
    else:
        _console().print(_safe(f"{done.state} {done.message}".strip()), markup=False, soft_wrap=True)
    return done.exit_code


@app.command
def gate(
    release_dir: Annotated[Path, Parameter(help="A directory that `paritygate release` wrote.")],
    /,
    *,
    digest: _Digest = None,
    as_json: _Json = False,
) -> int:
    """Judge a release again, together with its attestations; nothing is run.

    Checks every digest, reads what `paritygate verify --attest` brought from
    other machines, and says what is still awaited and which command brings
    it. A cell that failed on any machine refuses the release. Attestations are
    not signed yet: whoever can write into the folder can write or remove one.
    """
    from flows import gate as judgement

    report = judgement.gate(release_dir, digest=digest)
    if as_json:
        _print_record(report)
    else:
        judgement.render(report, _console())
    return report.verdict.exit_code


@app.command
def doctor(*, as_json: _Json = False) -> int:
    """Show what this machine can run, with versions, and the command that brings what is missing.

    Exit code 0 when any runtime can run here, else 3.
    """
    from flows import doctor as diagnosis

    found = diagnosis.examine()
    if as_json:
        _print_record(found)
    else:
        diagnosis.render(found, _console())
    return 0 if any(runtime.ready for runtime in found.runtimes) else 3


def _console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=stderr)


def _print_record(record: Any) -> None:
    from pydantic import TypeAdapter

    _print_bytes(TypeAdapter(type(record)).dump_json(record, indent=1) + b"\n")


def _print_bytes(raw: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(raw)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
