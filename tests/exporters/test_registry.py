"""The table of exporters is whole: everything it names is there."""

import pytest

from exporters.contract import TensorSpec
from exporters.formats.registry import EXPORTERS, FORMATS, STATIC_EXPORTERS, VARIANTS, row_of, rows_of
from exporters.lowering.tracing.forms import FORMS, RECURRENCES
from flows.config.settings import Settings


def test_every_row_has_a_key_of_its_own():
    rows = (*EXPORTERS, *STATIC_EXPORTERS)
    assert len({row.key for row in rows}) == len(rows)


@pytest.mark.parametrize("row", [*EXPORTERS, *STATIC_EXPORTERS], ids=lambda row: row.key)
def test_a_row_names_a_source_and_a_toolchain_that_exist(row):
    assert row.source in {"model", *FORMS}
    assert "tensorflow" in row.toolchain
    assert row.variant


def test_every_lowered_form_is_used_by_some_row():
    assert {row.source for row in EXPORTERS} == {"model", *FORMS}
    assert {form.recurrence for form in FORMS.values()} <= set(RECURRENCES)


def test_the_form_of_the_settings_offers_the_formats():
    formats = Settings.model_json_schema()["properties"]["formats"]
    assert formats["items"] == {"type": "string", "enum": [*FORMATS, *VARIANTS]}
    assert formats["default"] == list(FORMATS)


@pytest.mark.parametrize("row", [row for row in EXPORTERS if row.section], ids=lambda row: row.key)
def test_a_rows_section_of_the_settings_holds_its_options_under_the_same_names(row):
    section = Settings(model="m.keras").model_dump()[row.section]
    assert section.keys() <= row.options.keys()
    assert {name: row.options[name] for name in section} == section


def test_a_model_that_leaves_more_than_the_batch_open_has_static_rows_as_well():
    def keys(*shape):
        return [row.key for row in rows_of(("tflite",), [TensorSpec(name="x", dtype="float32", shape=shape)])]

    assert keys(None, 4) == ["tflite/dynamic", "tflite/batch1"]
    assert keys(None, None) == ["tflite/dynamic", "tflite/batch1", "tflite/static"]


@pytest.mark.parametrize("key", VARIANTS)
def test_every_artifact_has_its_row(key):
    assert row_of(key).key == key  # the static ones too: a diagnosis exports parts of such a model again


def test_rows_of_some_formats_keep_the_tables_order():
    assert [row.key for row in rows_of(("onnx", "tflite"))] == ["tflite/dynamic", "tflite/batch1", "onnx/default"]
