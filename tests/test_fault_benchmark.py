"""The parts of `benchmarks/faults.py` that need no TensorFlow: its table of faults, the search, the scores."""

import inspect

import numpy as np
import pytest

from benchmarks.planted import others, search
from benchmarks.planted.kinds import FAULTS
from benchmarks.planted.models import MODELS, Span
from benchmarks.planted.report import bars, page, summary, table
from exporters.formats.registry import FORMATS

DOMAIN = {"x": Span(low=-1.0, shape=(4,))}
CALM = {"model": "a", "format": "onnx", "alarms": (), "rows": 500, "furthest": 0.4, "to_noise": {"y": 6.0}}
CALM["others"] = dict.fromkeys(others.CRITERIA, False) | {"onnx2tf": True}


def score(**changes):
    caught = dict.fromkeys(others.CRITERIA, True)
    plain = {
        "fault": "a fault",
        "family": "weights",
        "model": "pixels",
        "format": "onnx",
        "ratio": 9.0,
        "witness": "tolerance exceeded",
    }
    return plain | {"generated": "tolerance exceeded", "weights": "", "others": caught} | changes


def test_there_are_forty_kinds_in_eight_models_and_every_format_each_with_a_name_of_its_own():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 40
    assert len({fault.model for fault in FAULTS}) >= 8
    assert {fault.model for fault in FAULTS} <= set(MODELS)
    assert {fault.format for fault in FAULTS} == set(FORMATS)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_changes_one_thing_and_what_it_changes_is_there(fault):
    assert sum(map(bool, (fault.changes, fault.edit, fault.stored, fault.answer))) == 1
    assert set(fault.changes) <= set(inspect.signature(MODELS[fault.model].build).parameters)
    assert fault.format in MODELS[fault.model].formats


def test_the_search_finds_where_two_functions_differ_most():
    def good(rows):
        return {"y": rows["x"].sum(axis=1, keepdims=True)}

    def faulty(rows):
        return {"y": good(rows)["y"] + np.maximum(rows["x"][:, :1] - 0.9, 0) ** 2}

    found = search.witness(DOMAIN, good, faulty, np.random.default_rng(1))
    assert found["x"].shape == (search.ROWS, 4)
    assert found["x"][0, 0] > 0.97


def test_the_search_finds_nan_and_what_is_wrong_in_batches_of_seven_alone():
    def good(rows):
        return {"y": rows["x"] * 2}

    def nan(rows):
        return {"y": np.where(rows["x"] > 0.99, np.nan, rows["x"] * 2)}

    def seven(rows):
        return {"y": rows["x"] * (3 if len(rows["x"]) == 7 else 2)}

    assert np.isnan(nan(search.witness(DOMAIN, good, nan, np.random.default_rng(1)))["y"]).any()
    assert len(search.witness(DOMAIN, good, seven, np.random.default_rng(1))["x"]) == 7


def test_words_and_whole_numbers_are_drawn_from_their_own():
    rng = np.random.default_rng(2)
    domain = {
        "ids": Span(high=3, shape=(None,), dtype="int32"),
        "text": Span(shape=(2,), dtype="string", words=("a", "b")),
    }
    rows = search.draw(domain, 50, rng, 9)
    assert (rows["ids"].shape, rows["ids"].dtype, set(rows["ids"].flat)) == ((50, 9), "int32", {0, 1, 2, 3})
    assert set(rows["text"].flat) == {"a", "b"}


@pytest.mark.parametrize(
    ("off", "noticed"),
    [(0.0, set()), (2e-5, {"Optimum", "Polygraphy", "LiteRT check"}), (2e-4, set(others.CRITERIA))],
)
def test_the_criteria_of_others_are_as_documented(off, noticed):
    reference = np.full((2, 3), 0.1)
    caught = others.caught([(reference, reference + off)])
    assert {name for name, saw in caught.items() if saw} == noticed


def test_a_fault_that_only_its_witness_shows_is_missed_from_generated_samples():
    scores = [score(), score(generated=""), score(ratio=0.3, witness="", generated="")]
    kept = [ok for ok, _ in bars(scores, [CALM])]
    assert kept == [True, False, True, True, True]
    assert "| missed |" in table(scores)
    assert "indistinguishable" in table(scores)
    assert "| weights | 3 | 2 | 2 | 1 | 0 |" in summary(scores)


def test_faults_below_tolerance_are_counted_by_what_shows_them_all_the_same():
    nowhere = {"ratio": 0.3, "witness": "", "generated": "", "weights": ""}
    scores = [score(), score(**nowhere), score(**nowhere | {"weights": "changed"})]
    scores.append(score(**nowhere | {"fault": "ReLU6", "generated": "tolerance exceeded"}))
    said = bars(scores, [CALM])[-1][1]
    assert said == (
        "3 faults stay below tolerance over the model's domain: values beyond it show 1 of them (ReLU6), the stored "
        "weights 1; 1 are indistinguishable"
    )


def test_a_false_alarm_or_a_wide_tolerance_breaks_its_bar():
    assert [ok for ok, _ in bars([score()], [CALM | {"alarms": ("far",)}])] == [True, True, False, True, True]
    assert [ok for ok, _ in bars([score()], [CALM | {"to_noise": {"y": 9.0}}])] == [True, True, True, False, True]


def test_the_page_holds_the_summary_between_marks_and_tells_what_it_was_made_with():
    run = {"date": "2026-01-02", "command": "python -m benchmarks.faults", "versions": {"keras": "3.99"}}
    text = page([run, run], [score()], [CALM])
    inside = text.partition("<!-- faults:begin -->")[2].partition("<!-- faults:end -->")[0]
    assert summary([score()]) in inside
    assert "Optimum 0, Polygraphy 0, onnx2tf 1, LiteRT check 0" in inside
    assert text.count("python -m benchmarks.faults\n") == 1
    assert "keras 3.99" in text
