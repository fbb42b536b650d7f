"""How far outputs vary, what labels measure, and what the gate makes of both."""

from dataclasses import replace

import factory
import numpy as np
import pytest

from exporters.errors import BadInput
from validators.compare.task_metric import accuracy, fitting, function_named, scored
from validators.contract import ComparisonBasis, OutputVariation, SampleSet, Skip, Task
from validators.reference.job import _task
from validators.reference.output_variation import output_variation
from validators.reference.usable_sets import Answers

SEEDED = SampleSet(name="seeded", rows=3, batch=3, origin="seeded", seed=1)
BEYOND = SampleSet(name="beyond", rows=3, batch=1, origin="beyond", seed=1)


def covered(array, *, other=None):
    outputs = {"seeded": {"y": np.asarray(array)}, "beyond": {"y": np.asarray(array if other is None else other)}}
    return output_variation([SEEDED, BEYOND], outputs)["y"]


def test_an_output_that_varies_is_no_weak_evidence():
    found = covered([[0.0], [0.5], [1.0]])
    assert (found.spread, found.scale, found.weak, found.why) == (1.0, 1.0, False, "")


@pytest.mark.parametrize("dead", [[[1.0], [1.0], [1.0]], [[1000.0], [1000.1], [1000.2]], [[0.0], [0.0], [0.0]]])
def test_an_output_that_barely_varies_is_weak_evidence_and_says_so(dead):
    found = covered(dead)
    assert found.weak
    assert "`y` varies by" in found.why


def test_what_varies_beyond_the_range_alone_is_weak_all_the_same():
    assert covered([[1.0], [1.0], [1.0]], other=[[1.0], [9.0], [5.0]]).weak


def test_one_element_that_varies_is_enough():
    assert not covered([[1.0, 5.0], [1.0, 6.0], [1.0, 7.0]]).weak


def test_nan_and_infinity_do_not_count_as_variation():
    assert covered([[np.nan], [1.0], [np.inf]]).weak


@pytest.mark.parametrize(("values", "weak"), [([3, 3, 3], True), ([3, 4, 3], False), (["a", "b", "a"], False)])
def test_whole_numbers_and_text_vary_when_there_are_two(values, weak):
    assert covered(np.array(values, object if isinstance(values[0], str) else None)).weak is weak


def test_whole_numbers_that_differ_within_a_row_alone_are_weak():
    assert covered([[1, 2], [1, 2], [1, 2]]).weak
    assert not covered([[1, 2], [1, 2], [2, 1]]).weak


# The user's labels


def test_accuracy_counts_the_rows_whose_largest_entry_is_the_label():
    scores = np.array([[0.1, 0.9], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])
    assert accuracy(np.array([1, 0, 1, 1]), scores) == 0.75
    assert accuracy(np.array([[1], [0], [1], [1]]), scores) == 0.75
    assert accuracy(np.eye(2)[[1, 0, 1, 1]], scores) == 0.75


def test_a_single_number_decides_at_one_half_or_by_its_sign():
    labels = np.array([0, 1, 1, 0])
    assert accuracy(labels, np.array([[0.2], [0.7], [0.6], [0.4]])) == 1.0
    assert accuracy(labels, np.array([-3.0, 0.2, 4.0, -0.1])) == 1.0


def test_whole_numbered_outputs_are_decisions():
    assert accuracy(np.array([3, 4]), np.array([[3], [5]])) == 0.5


def test_accuracy_needs_one_output_that_fits():
    labels = np.array([0, 1, 2])
    scores, single = np.zeros((3, 3)), np.zeros((3, 1))
    assert fitting(labels, {"scores": scores, "single": single}) == "scores"
    assert fitting(labels, {"a": scores, "b": scores}) == ""
    assert fitting(np.array([0.1, 0.2, 0.3]), {"scores": scores}) == ""
    assert fitting(np.array([0, 1, 3]), {"scores": scores}) == ""
    with pytest.raises(ValueError, match="do not fit"):
        accuracy(np.array([0.5, 1.5, 2.5]), scores)


def test_a_function_of_the_users_gets_labels_and_outputs(tmp_path):
    file = tmp_path / "my_metric_module.py"
    file.write_text("def closeness(labels, outputs):\n    return -abs(outputs['y'] - labels).mean()\n")
    name = f"{file}:closeness"
    assert scored(name, function_named(name), np.array([1.0, 2.0]), {"y": np.array([1.0, 2.5])}) == -0.25


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        (lambda *_: float("nan"), "returned nan"),
        (lambda *_: 1 / 0, "ZeroDivisionError"),
        (lambda *_: "x", "ValueError"),
    ],
)
def test_a_function_that_fails_or_gives_no_number_is_bad_input(metric, says):
    with pytest.raises(BadInput, match=says):
        scored("m:f", metric, np.zeros(1), {})


def test_a_function_that_does_not_exist_is_bad_input_that_says_how_to_name_one():
    with pytest.raises(BadInput, match=r"samples\.metric math:nothing") as error:
        function_named("math:nothing")
    assert "PACKAGE.MODULE:FUNCTION" in error.value.next_step


def test_a_function_in_a_file_is_recorded_by_the_files_own_name(tmp_path):
    (tmp_path / "mine_score.py").write_text("def score(labels, outputs): return (labels == outputs['y']).mean()")
    user = SampleSet(name="user", rows=2, batch=2, origin="user")
    answers = Answers(sets=(user,), outputs={"user": {"y": np.array([1, 2])}}, chosen=[0, 2])
    (tmp_path / "evidence").mkdir()
    task = _task(tmp_path, answers, np.array([1, 9, 3]), f"{tmp_path / 'mine_score.py'}:score")
    assert task == Task(metric="mine_score.py:score", output="", original=0.5, rows=2)


# The gate


def verdict(*, cells=None, **more):
    return factory.judged(
        cells=cells or factory.passed_cells(),
        artifacts=[factory.artifact(key) for key in factory.ARTIFACTS],
        required=factory.REQUIRED,
        **more,
    )


WEAK_OUTPUT = OutputVariation(spread=0.0, scale=1.0, weak=True, why="output `digit` varies by 0")
WEAK = ComparisonBasis(coverage={"digit": WEAK_OUTPUT})
TASK = Task(metric="accuracy", output="digit", original=0.97, rows=360)


def test_weak_evidence_is_reported_unless_the_policy_refuses_it():
    assert verdict(grounds=WEAK).passed
    refused = verdict(grounds=WEAK, weak_evidence="refuse")
    assert [(reason.code, reason.subject) for reason in refused.reasons] == [("weak evidence", "output digit")]


def with_task(value):
    first, *others = factory.passed_cells()
    return [replace(first, task=value), *(replace(cell, task=0.97) for cell in others)]


def test_a_copy_that_does_the_task_worse_than_the_margin_allows_is_refused():
    grounds = ComparisonBasis(task=TASK)
    assert verdict(cells=with_task(0.95), grounds=grounds).passed
    assert verdict(cells=with_task(0.95), grounds=grounds, task_margin=0.025).passed
    refused = verdict(cells=with_task(0.95), grounds=grounds, task_margin=0.01)
    assert [reason.code for reason in refused.reasons] == ["worse at the task"]
    assert "0.95, the original's 0.97" in refused.reasons[0].message
    assert not verdict(cells=with_task(float("nan")), grounds=grounds, task_margin=1.0).passed


@pytest.mark.parametrize("kind", ["too slow", "other length"])
def test_an_artifact_without_time_for_the_labelled_rows_is_not_within_a_margin(kind):
    cells = with_task(0.97)
    key = f"{cells[0].format}/{cells[0].variant}"
    cells = [
        replace(cell, task=None, skipped={"user": Skip(kind=kind, why="")})
        if f"{cell.format}/{cell.variant}" == key
        else cell
        for cell in cells
    ]
    refused = verdict(cells=cells, grounds=ComparisonBasis(task=TASK), task_margin=1.0)
    told = [(reason.code, reason.subject) for reason in refused.reasons if reason.code == "worse at the task"]
    assert told == ([("worse at the task", key)] if kind == "too slow" else [])


def test_a_margin_without_labels_proves_nothing():
    refused = verdict(task_margin=0.01)
    assert [(reason.code, reason.subject) for reason in refused.reasons] == [("worse at the task", "policy")]
