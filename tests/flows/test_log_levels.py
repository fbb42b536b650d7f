"""Every program has its own way to say how bad a line is; the level survives."""

from logging import CRITICAL, DEBUG, ERROR, INFO, WARNING

import pytest

from flows.progress.log_levels import PLAIN, level_of


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("said on stdout", INFO),
        ("DEBUG:h5py._conv:Creating converter", DEBUG),
        ("WARNING:tensorflow:From /x/y.py:164: deprecated", WARNING),
        ("ERROR:root:broken", ERROR),
        ("CRITICAL:a.b:the end", CRITICAL),
        ("INFO: Created TensorFlow Lite XNNPACK delegate for CPU.", INFO),
        ("WARNING: All log messages before absl::InitializeLog() is called are written to STDERR", WARNING),
        ("E0000 00:00:1795813084.612613   22399 cuda_platform.cc:52] failed call to cuInit", ERROR),
        ("W1127 20:59:00.123456 7 file.cc:1] careful", WARNING),
        ("2026-11-27 20:59:00.1234: F external/local_tsl/file.cc:1] check failed", CRITICAL),
        ("2026-11-27 20:59:00.1234 [W:onnxruntime:, graph.cc:1 Clean] unused", WARNING),
        ("2026-11-27 20:59:00,123 - ERROR - tf2onnx: no such op", ERROR),
        ("[1127/205900.123456:ERROR:gpu_init.cc(12)] no GL", ERROR),
        ("/x/y.py:21: FutureWarning: In the future", WARNING),
        ("[page error] INFO: [environment.cc:36] Creating", INFO),
        ("[page error] WARNING: [npu_registry.cc:34] no NPU", WARNING),
        ("[page error] what a page printed to stderr", ERROR),
        ("[page log] all is well", INFO),
        ("ERRORS: 0", INFO),
        ("Warning signs were not seen", INFO),
    ],
)
def test_a_line_has_the_level_that_its_program_gave_it(line, level):
    assert level_of(line, PLAIN).number == level


def test_a_traceback_is_an_error_to_its_last_line_and_no_further():
    lines = [
        "Traceback (most recent call last):",
        '  File "a.py", line 1, in <module>',
        "    raise ValueError",
        "ValueError: bad",
        "and on",
    ]
    found, before = [], PLAIN
    for line in lines:
        before = level_of(line, before)
        found.append(before.number)
    assert found == [ERROR, ERROR, ERROR, ERROR, INFO]


def test_an_indented_line_belongs_to_the_one_before():
    warning = level_of("x.py:3: UserWarning: look", PLAIN)
    assert level_of("  the_line_of_code()", warning).number == WARNING
