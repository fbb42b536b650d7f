"""Runs the releases of a sweep in parallel, with shared preloaded processes and a shared browser.

In: a folder and settings. Out: a `Sweep`, on disk after every model. A crash, hang or refusal of one model stops no
other.
"""

import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil

from exporters.errors import BadInput, Broken, Cancelled
from exporters.jobs import ForkServers
from flows.batch.loop import work_through
from flows.batch.outcomes import FormatState, states_of, states_of_error
from flows.batch.sweep_display import Progress
from flows.batch.sweep_record import Sweep, SweepFile, SweptModel, begin
from flows.config.model_folder import Model, find
from flows.config.settings import Settings, load_settings
from flows.pipeline.preconditions import refuse_unrunnable
from flows.pipeline.run import ReleaseRun, SharedResources
from flows.pipeline.stages import run_on_threads
from validators.preloads import preloaded_modules
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
    """Releases every model below a folder that has no result yet.

    Args:
        folder: holds the models.
        output: the sweep's directory; by default what `config` says, else `FOLDER.sweep` in the current one.
        config: `release.toml`, the same for every release.
        formats: instead of the ones that `config` names.
        pattern: of the file names; None for those that models have by default.
        jobs: how many releases run in parallel; by default one for every four cores.
        progress: shows what goes on.

    Returns:
        (the sweep's directory, the results of all models).

    Raises:
        BadInput: no folder, no model in it, or settings that are not valid or that this machine cannot meet.
        Broken: the sweep's directory cannot be written.
    """
    settings = load_settings(config, {"model": folder, "output": output, "formats": formats})
    _refuse(settings, jobs)
    target = settings.output or Path(f"{folder.resolve().name}.sweep")
    models = find(folder, pattern, exclude=target)
    try:
        with SweepFile(target, begin(settings, len(models))) as record:
            due = _due(models, settings, record, progress)
            if due:
                _release_all(due, settings, record, progress, jobs)
            return target, record.sweep
    except OSError as error:
        raise Broken(f"{target}: cannot be written: {error}", next_step="Check free space and permissions.") from error


def _refuse(settings: Settings, jobs: int | None) -> None:
    """Refuses, before anything starts, settings with which no model could be released."""
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
            next_step="Leave it out here, and release such weights with `paritygate release --architecture`.",
        )
    if settings.samples.path is not None and not settings.samples.path.exists():
        raise BadInput(f"{settings.samples.path}: no such file (samples)")
    refuse_unrunnable(settings)


def _due(models: Sequence[Model], settings: Settings, record: SweepFile, progress: Progress) -> list[Model]:
    """Records the models that need no release, and returns the others."""
    due, known = list[Model](), list[SweptModel]()
    for model in models:
        if before := record.settled(model):
            known.append(before)
        elif model.fault is not None:
            error = BadInput(model.fault, next_step="Check the link or the permissions.")
            known.append(_swept(model, states_of_error(error, settings.formats)))
        else:
            due.append(model)
    progress.begin(models=len(models), settled=len(known))
    record.add(known)
    return due


def _release_all(
    models: Sequence[Model], settings: Settings, record: SweepFile, progress: Progress, jobs: int | None
) -> None:
    """Releases all models; however it ends, the results so far are on disk."""
    cores = os.cpu_count() or 1
    at_once = min(jobs or max(1, cores // _CORES_OF_ONE), len({model.release for model in models}))
    with (
        tempfile.TemporaryDirectory(prefix="paritygate-sweep-") as logs,
        closing(ForkServers(preloaded_modules(), Path(logs))) as fork_servers,
        closing(BrowserHost()) as browser,
        ThreadPoolExecutor(at_once, thread_name_prefix="release") as pool,
    ):
        shared = SharedResources(
            fork_servers=fork_servers,
            browser=browser,
            cores=max(1, cores // at_once) + 1,
            memory=psutil.virtual_memory().total * 4 // 5 // at_once,
        )
        threads = _ReleaseThreads(settings, record.file.parent, progress, pool, shared)
        try:
            for model, released in work_through(models, start=threads.start, ended=threads.ended, at_once=at_once):
                swept = replace(released, path=model.path)  # the release of a copy has the path of the first one
                record.add([swept])
                progress.ended(swept)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            threads.stop()  # the pool waits for its threads, and they for their jobs
            raise


class _ReleaseThreads:
    """Runs each release of a sweep on a thread of this process."""

    def __init__(
        self, settings: Settings, target: Path, progress: Progress, pool: ThreadPoolExecutor, shared: SharedResources
    ) -> None:
        self._settings = settings
        self._target = target
        self._progress = progress
        self._pool = pool
        self._shared = shared
        self._releases: dict[str, Future[SweptModel]] = {}
        self._lock = threading.Lock()
        self._stopping = False
        self._running: set[ReleaseRun] = set()

    def start(self, model: Model) -> Future[SweptModel]:
        """Starts a release on a thread; equal copies of a model with equal file names share one."""
        if model.release not in self._releases:
            self._releases[model.release] = self._pool.submit(self._release, model)
        return self._releases[model.release]

    def ended(self, releases: Sequence[Future[SweptModel]]) -> Mapping[Future[SweptModel], SweptModel]:
        """Waits only a moment, since a signal that reaches another thread does not end a wait of this one."""
        done, _ = wait(releases, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
        return {release: release.result() for release in done}

    def stop(self) -> None:
        """Ends all releases."""
        with self._lock:
            self._stopping = True
            running = tuple(self._running)
        for run in running:
            run.cancel()

    def _release(self, model: Model) -> SweptModel:
        started = time.monotonic()
        self._progress.started(model.path)
        settings = self._settings.model_copy(update={"model": model.file, "output": self._target / model.release})
        manifest, released, states = "", False, tuple[FormatState, ...]()
        try:
            listen = partial(self._progress.stage, model.path)
            with ReleaseRun(settings, listen, shared=self._shared) as run, self._stoppable(run):
                run.warm_up()
                run.carry_out(run_on_threads)
        except Cancelled:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of a model: not even a bug of ours stops the others
            states = states_of_error(error, settings.formats)
            states = tuple(replace(each, reason=each.reason.removeprefix(f"{model.file}: ")) for each in states)
        else:
            if run.manifest is None:
                states = states_of_error(Broken("the run ended without a verdict"), settings.formats)
            else:
                manifest, released, states = run.digest, run.manifest.verdict.passed, states_of(run.manifest)
        seconds = time.monotonic() - started
        return _swept(model, states, manifest=manifest, released=released, seconds=seconds)

    @contextmanager
    def _stoppable(self, run: ReleaseRun) -> Iterator[None]:
        with self._lock:
            if self._stopping:
                raise Cancelled("the sweep is ending")
            self._running.add(run)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(run)


def _swept(
    model: Model, states: tuple[FormatState, ...], *, manifest: str = "", released: bool = False, seconds: float = 0.0
) -> SweptModel:
    return SweptModel(
        path=model.path,
        digest=model.digest,
        size=model.size,
        release=model.release if manifest else "",
        manifest=manifest,
        released=released,
        states=states,
        seconds=round(seconds, 3),
    )
