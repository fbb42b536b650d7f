"""Admission of the weights: no way out of the file, nothing that is not stored, every weight finite."""

import sys
import time
import zipfile

import hostile
import numpy as np
import pytest
from hostile import h5, keras_file

from exporters.errors import BadInput
from exporters.source.admission import check_weights, examine
from exporters.source.admission.weight_check import _slabs
from exporters.source.readers.hdf5_weights import role
from exporters.source.readers.stored_model import Stored


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("kind", hostile.HDF5)
def test_a_bad_weights_file_is_refused_by_name(kind, compression, tmp_path):
    write, words = hostile.HDF5[kind]
    path = keras_file(tmp_path / "m.keras", weights=h5(write), compression=compression)
    start = time.process_time()
    with pytest.raises(BadInput, match=words):
        examine(path)
    assert time.process_time() - start < 2
    assert not {"keras", "tensorflow"} & set(sys.modules)


def test_weights_that_are_no_hdf5_file_are_refused(tmp_path):
    with pytest.raises(BadInput, match=r"in model\.weights\.h5, the HDF5 file itself cannot be read"):
        examine(keras_file(tmp_path / "m.keras", weights=b"not HDF5 at all"))


def test_a_truncated_hdf5_file_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"model\.weights\.h5"):
        examine(keras_file(tmp_path / "m.keras", weights=hostile.small_weights()[:-600]))


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_finite_weights_pass(compression, tmp_path):
    check_weights(keras_file(tmp_path / "m.keras", compression=compression))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_a_weight_that_is_not_finite_is_named_with_its_layer(bad, dtype, tmp_path):
    kernel = np.ones((4, 3), dtype)
    kernel[1, 2] = kernel[3, 0] = bad
    path = keras_file(tmp_path / "m.keras", weights=hostile.small_weights(kernel))
    with pytest.raises(BadInput, match=r"layer score .*layers/dense/vars/0\) in which 2 of 12 values are NaN or inf"):
        check_weights(path)


def test_a_bad_bfloat16_weight_is_found(tmp_path):
    """Keras stores bfloat16 as two opaque bytes; 0x7F80 is infinity, 0x3F80 is 1."""
    kernel = np.full(6, 0x3F80, np.uint16)
    check_weights(keras_file(tmp_path / "a.keras", weights=hostile.small_weights(kernel.view("V2"))))
    kernel[4] = 0x7F80
    with pytest.raises(BadInput, match="1 of 6 values"):
        check_weights(keras_file(tmp_path / "b.keras", weights=hostile.small_weights(kernel.view("V2"))))


@pytest.mark.parametrize("shape", [(), (0,), (5,), (3_000_000,), (1, 3_000_000), (2, 3, 700_000), (3, 1_000_000, 1)])
def test_every_value_of_a_large_weight_is_looked_at_once(shape):
    looked_at = np.zeros(shape, np.uint8)
    for slab in _slabs(Stored("w", shape, np.dtype("f4"), None)):
        looked_at[slab] += 1
    assert np.all(looked_at == 1)


def test_nan_at_the_end_of_a_large_weight_is_found(tmp_path):
    kernel = np.zeros((3, 1_000_000), np.float32)
    kernel[-1, -1] = np.nan
    path = keras_file(tmp_path / "m.keras", weights=hostile.small_weights(kernel))
    with pytest.raises(BadInput, match="1 of 3,000,000"):
        check_weights(path)


def test_a_nested_layer_is_named_by_its_path(tmp_path):
    def write(file):
        file.create_group("layers/functional/vars").attrs["name"] = "encoder"
        group = file.create_group("layers/functional/layers/dense/vars")
        group.attrs["name"] = "z_mean"
        group["0"] = np.float32([np.nan])

    with pytest.raises(BadInput, match="layer encoder/z_mean has a weight"):
        check_weights(keras_file(tmp_path / "m.keras", weights=h5(write)))


def test_nan_in_the_optimizer_and_in_metrics_does_not_matter(tmp_path):
    def write(file):
        for name in ("optimizer/vars/1", "metrics/mean/vars/0", "total_loss_tracker/vars/0"):
            file[name] = np.float32([np.nan])

    check_weights(keras_file(tmp_path / "m.keras", weights=h5(write)))


def test_compressed_chunks_are_read(tmp_path):
    def write(file):
        file.create_dataset("layers/dense/vars/0", data=np.eye(64, dtype="f4"), chunks=(8, 64), compression="gzip")

    path = keras_file(tmp_path / "m.keras", weights=h5(write))
    assert examine(path).parameters == 4096
    check_weights(path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("layers/dense/vars/0", "weight"),
        ("vars/0", "weight"),
        ("conv1/vars/0", "weight"),
        ("layers/optimizer/vars/0", "weight"),
        ("layers/metrics/layers/dense/vars/0", "weight"),
        ("optimizer/vars/3", "optimizer"),
        ("layers/discriminator/optimizer/vars/3", "optimizer"),
        ("metrics/mean/vars/0", "metrics"),
        ("reconstruction_loss_tracker/vars/0", "metrics"),
        ("layers/dropout/seed_generator/vars/0", "seed"),
        (r"layers\optimizer/vars/0", "weight"),
        (r"metrics\mean/vars/0", "metrics"),
    ],
)
def test_what_a_stored_value_serves_follows_from_its_place(path, expected):
    assert role(path) == expected


def test_sizes_count_weights_and_optimizer_apart(tmp_path):
    def write(file):
        file["layers/dense/vars/0"] = np.zeros((2, 3), np.float16)
        file["layers/dropout/seed_generator/vars/0"] = np.zeros(2, np.uint32)
        file["metrics/mean/vars/0"] = np.float32(0)

    facts = examine(keras_file(tmp_path / "m.keras", weights=h5(write)))
    assert (facts.parameters, facts.parameter_bytes, facts.optimizer_bytes) == (6, 12, 0)
    assert not facts.has_optimizer_state
