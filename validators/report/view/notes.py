"""Words what several reports say around their tables: samples, user code, retries, the baseline."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from validators.contract import Comparison
from validators.release.manifest import Manifest
from validators.report.view.matrix import BATCHES
from validators.report.view.text import Name, quoted
from validators.text import counted, number


def user_code(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Yields a label and a sentence for everything of the user's that was trusted or ran."""
    model = manifest.model
    if model.trusted:
        yield "trusted by the user", quoted(model.trusted)
    for used in model.custom_objects:
        origin = f"`{used.given}`" if used.given else f"module `{used.module}`"
        digest = f", SHA-256 `{used.digest}`" if used.digest else ""
        layers = f" in {quoted(used.layers)}" if used.layers else ""
        yield f"the user's own {used.kind}", f"`{used.name}` from {origin}{digest}{layers}"
    for layer in model.lambdas:
        names = f", which names {layer.names}" if layer.names else ""
        yield "bytecode that ran unchecked", f"layer `{layer.layer}` ({layer.position}){names}"


def sample_notes(manifest: Manifest) -> tuple[str, ...]:
    """Lists what limits the samples as evidence, and how the original treats a batch."""
    grounds = manifest.grounds
    return (
        *(f"Without the set `{name}`: {why}" for name, why in grounds.dropped.items()),
        BATCHES[grounds.batch],
        *(sentence for sentence, weak in coverage(manifest).values() if weak),
    )


def coverage(manifest: Manifest) -> Mapping[str, tuple[str, bool]]:
    """Words how far each output varies over all samples; True where that is too little."""
    return {
        name: (f"Weak evidence: {each.why}.", True)
        if each.weak
        else (
            f"Over all samples it runs through {number(each.spread)}; its largest magnitude: {number(each.scale)}.",
            False,
        )
        for name, each in manifest.grounds.coverage.items()
    }


def task(manifest: Manifest) -> str | None:
    """Words what the user's labels measure, and how far a copy may fall; None without labels."""
    record, margin = manifest.grounds.task, manifest.policy.task_margin
    if record is None:
        return None
    allowed = (
        "no policy.task_margin is set, so that it decides nothing"
        if margin is None
        else f"a copy may lie {margin:g} below the original"
    )
    return f"{record.metric} over {counted(record.rows, 'labelled row')}; {allowed}."


def interrupted(manifest: Manifest) -> tuple[str, ...]:
    """Words which jobs ran again, and what was kept from a run that was killed."""
    kept = f"Kept from a run that was killed: {quoted(manifest.resumed)}"
    return (
        *(
            f"Done again: `{each.job}`, {each.status} after {each.seconds:.1f} s: {each.message}"
            for each in manifest.retried
        ),
        *([kept] if manifest.resumed else []),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineView:
    """Words the comparison with the baseline.

    Attributes:
        name: the model's, with the start of the release's digest.
        headline: which release it is and how it was released.
        summary: `12 figures compared, 1 worse; 4 not compared`.
        not_compared: (figure and reason, subjects that share it).
        figures: every comparison, with the verdict's reason where it is worse than allowed.
    """

    name: str
    headline: str
    summary: str
    not_compared: tuple[tuple[str, tuple[Name, ...]], ...]
    figures: tuple[tuple[Comparison, str | None], ...]


def baseline(manifest: Manifest) -> BaselineView | None:
    """Words the comparison with the baseline; None without one."""
    record = manifest.baseline
    if record is None:
        return None
    reasons = {(reason.code, reason.subject): reason.message for reason in manifest.verdict.reasons}
    return BaselineView(
        name=f"{record.model} {record.digest[:12]}",
        headline=f"{record.headline}: {record.model}, made {record.created}, "
        f"SHA-256 of its release.json `{record.digest}`.",
        summary=record.summary,
        not_compared=tuple(
            (f"{what}: {why}", tuple(map(Name, subjects))) for (what, why), subjects in record.not_compared.items()
        ),
        figures=tuple((each, reasons.get((f"{each.what} regression", each.subject))) for each in record.comparisons),
    )
