import copy
import json
from pathlib import Path

import factory
import jsonschema
import pytest

from exporters.errors import BadInput
from validators.release.json_schema import schema, text
from validators.release.manifest import MANIFEST, dump, load

PUBLISHED = Path(__file__).parents[2] / "docs" / "release.schema.json"

VALIDATOR = jsonschema.Draft202012Validator(schema())


def example():
    artifacts = (factory.artifact(findings=(factory.finding(),)), factory.limited_artifact())
    cells = (factory.failed_cell(), factory.cell(), factory.cell_without_run("unavailable"))
    verdict = factory.refused(factory.reason())
    return json.loads(dump(factory.manifest(artifacts=artifacts, cells=cells, verdict=verdict)))


def every_object(tree, way=()):
    """The ways to all JSON objects that are records (their keys are fixed), the root included."""
    free = {"size_ratios", "toolchain", "options", "details", "fallbacks", "skipped", "seconds", "dynamic"}
    if isinstance(tree, dict) and not (way and way[-1] in free):
        yield way
        for key, value in tree.items():
            yield from every_object(value, (*way, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from every_object(value, (*way, index))


def at(tree, way):
    for step in way:
        tree = tree[step]
    return tree


def free(way):
    """Whether the keys there are names of samples, inputs or outputs, of which any may be missing."""
    return way[:1] == ("grounds",) and way[1:2] and way[1] != "task" and len(way) <= (3 if way[1] == "noise" else 2)


def refused_by_load(tmp_path, tree):
    (tmp_path / MANIFEST).write_text(json.dumps(tree))
    try:
        load(tmp_path)
    except BadInput:
        return True
    return False


def test_the_published_schema_is_the_one_the_records_give():
    assert PUBLISHED.read_text(encoding="utf-8") == text(), (
        "the records changed: run `python -m validators.release.json_schema > docs/release.schema.json`"
    )


def test_the_published_schema_of_a_preprocessing_is_the_one_its_records_give():
    published = PUBLISHED.with_name("preprocessing.schema.json").read_text(encoding="utf-8")
    assert published == text("preprocessing"), (
        "the records changed: run `python -m validators.release.json_schema preprocessing "
        "> docs/preprocessing.schema.json`"
    )


def test_every_step_of_a_preprocessing_and_every_parameter_of_it_is_described():
    whole = schema("preprocessing")
    jsonschema.Draft202012Validator.check_schema(whole)
    assert whole["properties"]["version"]["const"] == "1"
    records = {name: body for name, body in whole["$defs"].items() if name != "TensorSpec"}
    assert len(records) == 21
    fields = {f"{name}.{key}": field for name, body in records.items() for key, field in body["properties"].items()}
    assert [name for name, field in fields.items() if "description" not in field] == []


def test_the_schema_is_a_valid_schema_and_names_its_version():
    jsonschema.Draft202012Validator.check_schema(schema())
    assert schema()["properties"]["schema_version"]["const"] == "4"
    assert "schema version 4" in schema()["title"]


def test_every_field_of_the_schema_is_described():
    one_line_records = {"Worst", "Signature", "FileRecord", "Requirement", "PolicyRecord", "Verdict"}
    records = {name: body for name, body in schema()["$defs"].items() if name not in one_line_records}
    fields = {f"{name}.{key}": field for name, body in records.items() for key, field in body["properties"].items()}
    assert [name for name, field in fields.items() if "description" not in field] == []
    assert all(body["description"] for body in schema()["$defs"].values())


def test_a_dumped_manifest_fulfils_the_schema():
    VALIDATOR.validate(example())


def test_the_schema_and_load_refuse_a_manifest_that_lacks_any_key(tmp_path):
    whole = example()
    cut = 0
    for way in every_object(whole):
        for key in at(whole, way) if not free(way) else ():
            broken = copy.deepcopy(whole)
            del at(broken, way)[key]
            assert not VALIDATOR.is_valid(broken), (way, key)
            assert refused_by_load(tmp_path, broken), (way, key)
            cut += 1
    assert cut > 100


def test_the_schema_and_load_refuse_a_key_nobody_knows_wherever_it_stands(tmp_path):
    whole = example()
    for way in every_object(whole):
        broken = copy.deepcopy(whole)
        at(broken, way)["surprise"] = 1
        assert not VALIDATOR.is_valid(broken), way
        assert refused_by_load(tmp_path, broken), way


@pytest.mark.parametrize(
    ("way", "key", "value"),
    [
        (("cells", 0), "status", "fine"),
        (("cells", 0), "device", "tpu"),
        (("artifacts", 0), "status", "passed"),
        (("verdict",), "passed", "yes"),
        (("cells", 0, "diffs", 0), "max_abs", "0.1"),
        (("artifacts", 0, "signature", "inputs", 0), "shape", [None, "8"]),
        ((), "schema_version", "1"),
    ],
)
def test_the_schema_and_load_refuse_the_same_wrong_values(tmp_path, way, key, value):
    broken = example()
    at(broken, way)[key] = value
    assert not VALIDATOR.is_valid(broken)
    assert refused_by_load(tmp_path, broken)
