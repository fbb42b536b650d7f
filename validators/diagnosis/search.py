"""Searches for the layer that an artifact gets wrong, by the artifact's inner tensors. Pure.

In: the artifact's tensors over some samples, its outputs, and a way to run the original layer by layer over the same
samples. Out: a `Suspicion`.

The original runs layer by layer. Where a layer's output agrees with a tensor of the artifact, the run continues with
the artifact's tensor. So the next layer gets the artifact's inputs, rounding does not accumulate, and a layer that only
passes an error on agrees. A layer that does not agree is at fault. A layer whose output is no tensor of the artifact (a
batch norm folded into the convolution before it) is acquitted as soon as a layer behind it agrees.

The remaining suspects are proven by substitution: one tensor of the artifact replaces the output of the suspect in the
original. If the original then computes exactly what the artifact computes, that one layer is the whole difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from validators.diagnosis.contract import Arrays, Call, Result, Run, Suspicion
from validators.diagnosis.fused_layers import most_likely
from validators.diagnosis.tensor_match import Match, Tensors, distance

LIMITS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""Distances at which a layer counts as wrong, tried from the coarsest: the first one at which any does finds the layer
that is furthest off. A single layer rounds by less than the last limit, which is 17 unit roundoffs of float32."""
_CANDIDATES = 6
"""How many of the nearest tensors are tried as the output of a suspect."""
_MOST = 20
"""How many suspects are tried: of more, the first are those in front of the fault."""
_EXPLAINED = 1e-4
"""Distance down to which nothing else may be wrong for a suspect to explain the whole difference."""


@dataclass(slots=True)
class _Pass:
    """Follows one run of the original and compares it with the artifact.

    Attributes:
        limit: as in `Suspicion`.
        forced: call -> outputs to continue with, whatever the layer computes.
    """

    tensors: Tensors
    limit: float
    forced: Mapping[int, Arrays] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    inputs: dict[int, Arrays] = field(default_factory=dict)
    computed: dict[int, Arrays] = field(default_factory=dict)
    matched: dict[str, Match] = field(default_factory=dict)
    unproven: dict[str, frozenset[int]] = field(default_factory=dict)
    acquitted: set[int] = field(default_factory=set)
    suspects: set[int] = field(default_factory=set)
    misbound: dict[str, str] = field(default_factory=dict)

    def visit(self, call: Call, inputs: Arrays, outputs: Arrays) -> Arrays:
        self.calls.append(call)
        self.inputs[call.number], self.computed[call.number] = inputs, outputs
        since = self._since(call)
        if call.number in self.forced:
            self.unproven.update({call.value(k): frozenset() for k in range(len(outputs))})
            return self.forced[call.number]
        return tuple(self._follow(call.value(k), output, since) for k, output in enumerate(outputs))

    def _follow(self, value: str, output: np.ndarray, since: frozenset[int]) -> np.ndarray:
        found = self.tensors.nearest(output, self.limit)
        if not found:
            self.unproven[value] = since
            return output
        self.matched[value] = found[0]
        self.acquitted |= since
        self.unproven[value] = frozenset()
        return self.tensors.like(output, found[0])

    def _since(self, call: Call) -> frozenset[int]:
        """Returns the call and those before it since the artifact last agreed; for unknown origins, all unproven."""
        known = [self.unproven.get(value, frozenset()) for value in call.inputs]
        if any(value.startswith("?") for value in call.inputs):
            known += self.unproven.values()
        return frozenset({call.number}).union(*known)

    def end(self, result: Result, outputs: Mapping[str, np.ndarray]) -> None:
        """Compares the outputs of the original's run with those of the artifact."""
        flat = {
            name: array.astype(np.float64).ravel() for name, array in outputs.items() if array.dtype.kind in "biufV"
        }
        for name, array in result.arrays.items():
            if name not in flat:
                continue
            got, value = array.astype(np.float64).ravel(), result.values[name]
            if got.size == flat[name].size and distance(got, flat[name]) <= self.limit:
                continue
            unproven = self.unproven.get(value, frozenset()) if value != "?" else _all(self.unproven)
            self.suspects |= unproven
            if not unproven:
                others = [o for o, a in flat.items() if o != name and a.size == got.size]
                meant = min(others, key=lambda o: distance(got, flat[o]), default="")
                self.misbound[name] = meant if meant and distance(got, flat[meant]) <= self.limit else ""
        self.suspects -= self.acquitted

    def closest(self, output: np.ndarray) -> np.ndarray:
        """Returns the artifact's tensor that is nearest to an output; the output itself where none has its size."""
        found = self.tensors.nearest(output)
        return self.tensors.like(output, found[0]) if found else output

    def suspected(self) -> list[Call]:
        """Returns the suspects in their order."""
        return [call for call in self.calls if call.number in self.suspects]

    def feeding(self) -> list[Call]:
        """Returns the calls that agree and whose outputs suspects take."""
        taken = {value for call in self.suspected() for value in call.inputs}
        return [
            c for c in self.calls if c.number not in self.suspects and taken & {c.value(k) for k in range(c.outputs)}
        ]

    @property
    def clean(self) -> bool:
        return not self.suspects and not self.misbound


def search(run: Run, tensors: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> Suspicion:
    """Finds the layer that an artifact gets wrong.

    Args:
        run: runs the original; called once for every limit and every trial.
        tensors: the artifact's tensors, inputs included, by the artifact's names, in order.
        outputs: the artifact's outputs by canonical name.

    Returns:
        An empty `Suspicion` where artifact and original agree down to the last limit.
    """
    inside = Tensors(tensors)
    for limit in LIMITS:
        here = _passed(run, inside, outputs, limit, {})
        if here.misbound and not here.suspects:
            return Suspicion(misbound=here.misbound, limit=limit)
        if here.suspects:
            return _explained(run, inside, outputs, here) or _first(here)
    return Suspicion()


def _passed(
    run: Run, tensors: Tensors, outputs: Mapping[str, np.ndarray], limit: float, forced: Mapping[int, Arrays]
) -> _Pass:
    here = _Pass(tensors=tensors, limit=limit, forced=forced)
    here.end(run(here.visit), outputs)
    return here


def _explained(run: Run, tensors: Tensors, outputs: Mapping[str, np.ndarray], here: _Pass) -> Suspicion | None:
    """Returns the suspicion that a substitution proves; None where no single tensor explains the difference.

    The fault may be in a layer before the suspects: an artifact that computes it in two operators (a ReLU, then a
    minimum) may hold the right output between them, and pass on another. Then that other tensor explains everything
    too. Where both explanations name the same tensor, the suspect only passes on its input (ReLU of a ReLU).
    """
    suspect = _proven(run, tensors, outputs, here, here.suspected()[:_MOST])
    before = _proven(run, tensors, outputs, here, here.feeding())
    return before if before and (suspect is None or before.tensor != suspect.tensor) else suspect


def _proven(
    run: Run, tensors: Tensors, outputs: Mapping[str, np.ndarray], here: _Pass, calls: Sequence[Call]
) -> Suspicion | None:
    """Returns the suspicion of the first call at which one tensor explains the difference, with the fewest calls."""
    for call in calls:
        proofs = []
        for match in _candidates(here, call):
            first, *rest = here.computed[call.number]
            forced = tensors.like(first, match)
            instead = {call.number: (forced, *map(here.closest, rest))}
            then = _passed(run, tensors, outputs, here.limit, instead)
            if then.clean:
                proofs.append((_suspicion(here, then, call, match, forced), instead))
        if proofs:
            suspicion, instead = min(proofs, key=lambda proof: len(proof[0].calls))
            whole = _passed(run, tensors, outputs, min(here.limit, _EXPLAINED), instead).clean
            return replace(suspicion, explains=whole)
    return None


def _candidates(here: _Pass, call: Call) -> list[Match]:
    """Returns the artifact's tensors that may be a call's output: the nearest first."""
    found = here.tensors.nearest(here.computed[call.number][0])
    # Of equal tensors the last: a layer's output comes after tensors that it only passes on (a dropped addend).
    wrong = sorted((m for m in reversed(found) if m.distance > here.limit), key=lambda m: m.distance)
    return wrong[:_CANDIDATES]


def _suspicion(here: _Pass, then: _Pass, call: Call, match: Match, forced: np.ndarray) -> Suspicion:
    """Builds the suspicion of a call and of those that the artifact computes in one operator with it.

    Those before the call have no tensor of their own, those behind it have the same tensor.
    """
    before = _since_last(here, call)
    behind: list[Call] = []
    same = {call.value()}
    for later in then.calls:
        found = then.matched.get(later.value())
        if later.number > call.number and same & set(later.inputs) and found and found.tensor == match.tensor:
            behind.append(later)
            same.add(later.value())
    group = [c for c in [*before, *behind] if not _changes_nothing(here, c)] or [call]
    last = group[-1]
    wrong = here.computed[last.number][0]
    tensor = forced.reshape(wrong.shape) if forced.size == wrong.size else forced
    ordered, why = most_likely(
        group,
        inputs={c.number: here.inputs[c.number] for c in group},
        outputs={c.number: here.computed[c.number][0] for c in group},
        tensor=tensor,
    )
    return Suspicion(
        calls=tuple(ordered),
        tensor=match.tensor,
        distance=distance(wrong.astype(np.float64).ravel(), tensor.astype(np.float64).ravel()),
        limit=here.limit,
        feeds=_feeds(here, group),
        axes=match.axes,
        why=why,
    )


def _first(here: _Pass) -> Suspicion:
    """Returns the suspicion of the first suspect, where several layers are wrong or its tensor is not found."""
    call = here.suspected()[0]
    near = here.tensors.nearest(here.computed[call.number][0])
    return Suspicion(
        calls=(call,),
        distance=near[0].distance if near else float("inf"),
        limit=here.limit,
        feeds=_feeds(here, [call]),
    )


def _since_last(here: _Pass, call: Call) -> list[Call]:
    """Returns the suspects that lead to a call, in order, itself included."""
    since = frozenset[int]().union(*(here.unproven.get(value, frozenset()) for value in call.inputs)) & here.suspects
    return [each for each in here.calls if each.number in since | {call.number}]


def _changes_nothing(here: _Pass, call: Call) -> bool:
    """Tells whether a layer passes on its input, at most in another shape (dropout, flatten)."""
    inputs, (output, *_) = here.inputs[call.number], here.computed[call.number]
    return len(inputs) == 1 and inputs[0].size == output.size and np.array_equal(inputs[0].ravel(), output.ravel())


def _feeds(here: _Pass, group: Sequence[Call]) -> dict[str, tuple[Match, ...]]:
    """Returns the values that the group takes from outside, and the artifact's tensors that hold them."""
    made = {call.value(k) for call in group for k in range(call.outputs)}
    found: dict[str, tuple[Match, ...]] = {}
    for call in group:
        for value, array in zip(call.inputs, here.inputs[call.number], strict=False):
            if value not in made:
                found[value] = tuple(here.tensors.nearest(array, here.limit))
    return found


def _all(unproven: Mapping[str, frozenset[int]]) -> frozenset[int]:
    return frozenset[int]().union(*unproven.values())
