"""The hard zoo, walked: every model comes out of every format as its row in `tests/zoo.py` says."""

import pytest
from bench import every, of_kernels_of_its_own
from zoo import OWN, ZOO

from exporters.errors import BadInput
from exporters.formats.registry import EXPORTERS, FORMATS
from exporters.lowering.tracing.job import LowerRequest
from exporters.source.model_source import ModelSource
from exporters.target_limits import LIMITS
from tests.zoo_jobs import SmallLimit, lower_under_a_small_limit
from tests.zoo_models import MODELS
from validators.runtimes.registry import default_requirements

CHOSEN = [case for case in ZOO if not case.refused]


def name(case):
    return case.name


def rows(case):
    """The zoo's own models run on every set of kernels once; what other tables have too runs in every runtime."""
    return of_kernels_of_its_own if case.model.startswith(OWN) else every


def came_of(proof, key):
    """`proven`, `limited: ID`, or the state and reason of every cell that did not pass."""
    artifact = proof.artifacts[key]
    if artifact.status != "exported":
        return f"{artifact.status}: {artifact.limit or artifact.reason}"
    cells = [cell for cell in proof.cells.values() if f"{cell.format}/{cell.variant}" == key]
    required = {str(requirement) for requirement in default_requirements(FORMATS)}
    demanded = [cell for cell in cells if f"{cell.format} {cell.runtime} {cell.device}" in required]
    assert demanded
    told = {f"{cell.status}: {cell.reason}" for cell in demanded if cell.status != "passed"}
    return ", ".join(sorted(told)) or "proven"


def test_every_model_of_the_zoo_has_one_row():
    assert {case.name for case in ZOO if case.model.startswith(OWN)} == set(MODELS)
    assert len({case.model for case in ZOO}) == len(ZOO)


@pytest.mark.parametrize("case", ZOO, ids=name)
def test_a_row_names_artifacts_and_limits_that_exist(case):
    assert set(case.limited) | set(case.failed) | set(case.errored) <= {*FORMATS, *(row.key for row in EXPORTERS)}
    assert set(case.limited.values()) <= {limit.id for limit in LIMITS}


@pytest.fixture(scope="session")
def zoo(request, bench):
    """Case -> proof; the models of all chosen tests are worked on side by side."""
    params = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    for case in [found["case"] for found in params if found.get("case") in CHOSEN]:
        bench.prove([case.model], case.settings, rows=rows(case))
    return lambda case: bench.proof(case.model, case.settings, rows=rows(case))


@pytest.mark.slow
@pytest.mark.parametrize("case", CHOSEN, ids=name)
def test_the_model_comes_out_of_every_format_as_expected(zoo, case):
    proof = zoo(case)
    found = {key: came_of(proof, key) for key in proof.artifacts}
    assert found == {key: case.expected(key) for key in proof.artifacts}


@pytest.mark.slow
@pytest.mark.parametrize("case", CHOSEN, ids=name)
def test_no_further_runtime_is_wrong_about_it_without_being_told(zoo, case):
    """Runtimes that nobody demands may lack something, but what they answer is held to the same tolerances."""
    cells = [cell for cell in zoo(case).cells.values() if cell.device == "cpu"]
    wrong = {f"{cell.format}/{cell.variant}" for cell in cells if cell.status == "failed"}
    assert wrong <= {key for row in EXPORTERS if case.expected(key := row.key).startswith("failed")}


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in ZOO if case.refused], ids=name)
def test_an_original_that_is_no_reference_is_refused_with_the_reason(bench, case):
    with pytest.raises(BadInput, match=case.refused) as caught:
        bench.proof(case.model, case.settings)
    assert "training" in caught.value.next_step


@pytest.mark.slow
def test_weights_beyond_what_one_graph_holds_leave_the_saved_model_alone(bench, tmp_path):
    """The real limit is 2 GiB; a limit of 32 bytes asks the same question of a small model."""
    source = ModelSource(path=bench.build("two_inputs"))
    request = LowerRequest(model=source, destination=tmp_path, forms=("known", "unrolled", "batch1"))
    forms = bench.call(lower_under_a_small_limit, SmallLimit(request=request, limit=1 << 5)).forms
    assert {form.limited.limit for form in forms.values()} == {"graphdef-2gib"}
    assert all("SavedModel" in form.limited.next_step for form in forms.values())
