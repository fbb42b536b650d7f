"""The releases of a sweep, side by side as far as the machine goes, with preloaded processes and a browser in common.

In: a folder and settings. Out: a `Sweep`, on disk after every model. A model's crash, hang or refusal is its own.
"""

import os
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil

from exporters.errors import BadInput, Broken, Cancelled
from exporters.jobs import Preloaded
from flows.batch.outcomes import FormatState, states_of, states_of_error
from flows.batch.sweep_display import Progress
from flows.batch.sweep_record import Ledger, Record, Sweep, begin
from flows.config.model_folder import Model, find
from flows.config.settings import Settings, load_settings
from flows.pipeline.run import ReleaseRun, Shared, refuse_unrunnable
from flows.pipeline.stages import run_on_threads
from validators.preloads import hosts
from validators.web.browser import BrowserHost

_LOOK_SECONDS = 0.2
_CORES_OF_ONE = 4  # a release of a small model keeps so many busy: four exports, then ten cells


def sweep(  # noqa: PLR0913 - one parameter for every flag
    folder: Path,
    *,
    output: Path | None = None,
    config: Path | None = None,
    formats: Sequence[str] | None = None,
    pattern: str | None = None,
    jobs: int | None = None,
    progress: Progress,
) -> tuple[Path, Sweep]:
    """Releases every model below a folder that is not settled yet.

    Args:
        folder: the shelf.
        output: the sweep's directory; by default what `config` says, else `FOLDER.sweep` in the current one.
        config: `release.toml`, the same for every release.
        formats: instead of the ones that `config` names.
        pattern: of the file names; None for those that models have by default.
        jobs: how many releases run side by side; by default one for every four cores.
        progress: told what goes on.

    Returns:
        (the sweep's directory, what came of every model).

    Raises:
        BadInput: no folder, no model in it, or settings that are not valid or that this machine cannot meet.
        Broken: the sweep's directory cannot be written.
    """
    settings = load_settings(config, {"model": folder, "output": output, "formats": formats})
    _refuse(settings, jobs)
    target = settings.output or Path(f"{folder.resolve().name}.sweep")
    models = find(folder, pattern, apart_from=target)
    try:
        with Ledger(target, begin(settings, len(models))) as ledger:
            _Shelf(settings, target, ledger, progress).work_through(models, jobs)
            return target, ledger.sweep
    except OSError as error:
        raise Broken(f"{target}: cannot be written: {error}", next_step="Check free space and permissions.") from error


def _refuse(settings: Settings, jobs: int | None) -> None:
    """Says before anything starts what no model could be released with."""
    if jobs is not None and jobs < 1:
        raise BadInput(f"--jobs: got {jobs}, valid is 1 or more")
    if settings.policy.gpu_pool:
        raise BadInput(
            f"policy.gpu_pool names the work pool {settings.policy.gpu_pool!r}, and a sweep does not run under Prefect",
            next_step="Leave it out here, and release the models that need the pool with `paritygate release`.",
        )
    if settings.architecture:
        raise BadInput(
            f"architecture: got {settings.architecture!r}, which belongs to one model's weights; a sweep has many",
            next_step="Leave it out here, and release weights alone with `paritygate release --architecture`.",
        )
    if settings.samples.path is not None and not settings.samples.path.exists():
        raise BadInput(f"{settings.samples.path}: no such file (samples)")
    refuse_unrunnable(settings)


class _Shelf:
    """The work on the models of one sweep."""

    def __init__(self, settings: Settings, target: Path, ledger: Ledger, progress: Progress) -> None:
        self._settings = settings
        self._target = target
        self._ledger = ledger
        self._progress = progress
        self._lock = threading.Lock()
        self._stopping = False
        self._running: set[ReleaseRun] = set()

    def work_through(self, models: Sequence[Model], jobs: int | None) -> None:
        """Settles all models; whatever ends it, every record so far is on disk."""
        open_: dict[str, list[Model]] = {}
        kept: list[Record] = []
        for model in models:
            if record := self._ledger.settled(model):
                kept.append(record)
            elif model.fault:
                kept.append(_unreadable(model, self._settings.formats))
            else:
                open_.setdefault(model.release, []).append(model)
        self._progress.begin(models=len(models), settled=len(kept))
        self._ledger.add(kept)
        if not open_:
            return
        cores = os.cpu_count() or 1
        abreast = min(jobs or max(1, cores // _CORES_OF_ONE), len(open_))
        with (
            tempfile.TemporaryDirectory(prefix="paritygate-sweep-") as logs,
            closing(Preloaded(hosts(), Path(logs))) as preloaded,
            closing(BrowserHost()) as browser,
            ThreadPoolExecutor(abreast, thread_name_prefix="release") as pool,
        ):
            shared = Shared(
                preloaded=preloaded,
                browser=browser,
                cores=max(1, cores // abreast) + 1,
                memory=psutil.virtual_memory().total * 4 // 5 // abreast,
            )
            try:
                work = [pool.submit(self._settle, copies, shared) for copies in open_.values()]
                left = set(work)
                while left:  # in turns: a signal that reaches another thread does not end a wait of this one
                    ended, left = wait(left, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
                    for done in ended:
                        done.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self._stop()  # the pool waits for its threads, and they for their jobs
                raise

    def _stop(self) -> None:
        with self._lock:
            self._stopping = True
            running = tuple(self._running)
        for run in running:
            run.cancel()

    def _settle(self, copies: Sequence[Model], shared: Shared) -> None:
        """Releases one model, and records what came of it for every copy of it under the same name."""
        model = copies[0]
        started = time.monotonic()
        self._progress.started(model.path)
        manifest, released, states = self._released(model, shared)
        seconds = round(time.monotonic() - started, 3)
        records = [
            Record(
                path=copy.path,
                digest=copy.digest,
                size=copy.size,
                release=copy.release if manifest else "",
                manifest=manifest,
                released=released,
                states=states,
                seconds=seconds,
            )
            for copy in copies
        ]
        with self._lock:
            self._ledger.add(records)
        for record in records:
            self._progress.ended(record, of=model.path)

    def _released(self, model: Model, shared: Shared) -> tuple[str, bool, tuple[FormatState, ...]]:
        """Digest of the manifest, whether the gate let it out, and the states; no digest where there is no verdict."""
        settings = self._settings.model_copy(update={"model": model.file, "output": self._target / model.release})
        try:
            with ReleaseRun(settings, partial(self._progress.stage, model.path), shared=shared) as run:
                self._begin(run)
                try:
                    run.warm_up()
                    run.carry_out(run_on_threads)
                finally:
                    self._end(run)
        except Cancelled:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of a model: not even a bug of ours stops the others
            states = states_of_error(error, settings.formats)
            return "", False, tuple(replace(s, reason=s.reason.removeprefix(f"{model.file}: ")) for s in states)
        if run.manifest is None:
            return "", False, states_of_error(Broken("the run ended without a verdict"), settings.formats)
        return run.digest, run.manifest.verdict.passed, states_of(run.manifest)

    def _begin(self, run: ReleaseRun) -> None:
        with self._lock:
            if self._stopping:
                raise Cancelled("the sweep is ending")
            self._running.add(run)

    def _end(self, run: ReleaseRun) -> None:
        with self._lock:
            self._running.discard(run)


def _unreadable(model: Model, formats: Sequence[str]) -> Record:
    states = states_of_error(BadInput(model.fault, next_step="Check the link or the permissions."), formats)
    return Record(
        path=model.path, digest="", size=0, release="", manifest="", released=False, states=states, seconds=0.0
    )
