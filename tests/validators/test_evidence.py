import itertools
import json

import numpy as np
import pytest

from exporters.contract import Signature, TensorSpec
from exporters.errors import BadInput
from validators.contract import Noise, SampleSet
from validators.release.evidence import read_evidence, reference_folder, samples_folder, without_floor, write_evidence
from validators.samples.tensor_files import numpy_dtype, read_npy, read_tensors, write_tensors

SIGNATURE = Signature(
    inputs=(TensorSpec(name="image", dtype="float32", shape=(None, 2)),),
    outputs=(
        TensorSpec(name="b", dtype="float32", shape=(None, 3)),
        TensorSpec(name="a", dtype="int64", shape=(None,)),
    ),
)
SET = SampleSet(name="seeded_batch2", rows=2, batch=2, origin="seeded", seed=2, dynamic={"image[1]": 16})


def write_release(release):
    samples = {SET.name: {"image": np.ones((2, 2), np.float32)}}
    evidence = write_evidence(release, signature=SIGNATURE, sets=[SET], samples=samples)
    outputs = {"a": np.array([1, 2]), "b": np.zeros((2, 3), np.float32)}
    write_tensors(reference_folder(release, SET.name), outputs)
    return evidence


@pytest.mark.parametrize(
    "array",
    [
        np.array([[1.5, np.nan], [-np.inf, -0.0]], np.float32),
        np.array([1e-45], np.float32),
        np.array(3.0),
        np.zeros((0, 4), np.int64),
        np.array([2**63 - 1, -(2**63)], np.int64),
        np.array([[True, False]]),
        np.array([65504], np.float16),
        np.array([1 + 2j], np.complex64),
        np.arange(6, dtype=np.uint8).reshape(2, 3),
    ],
    ids=lambda array: f"{array.dtype}{list(array.shape)}",
)
def test_numbers_come_back_bit_for_bit(tmp_path, array):
    write_tensors(tmp_path, {"x": array})
    back = read_tensors(tmp_path)["x"]
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.tobytes() == array.tobytes()


def test_files_are_little_endian_and_in_c_order_whatever_was_in_memory(tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_tensors(tmp_path, {"plain": array, "big": array.astype(">f4"), "fortran": np.asfortranarray(array)})
    assert len({(tmp_path / f"{name}.npy").read_bytes() for name in ("plain", "big", "fortran")}) == 1


def test_types_that_numpy_lacks_are_stored_as_their_bits(tmp_path):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    write_tensors(tmp_path, {"x": np.array([[1.5, -2.0]], bfloat16)})
    assert [path.name for path in tmp_path.iterdir()] == ["x.bfloat16.npy"]
    back = read_tensors(tmp_path)["x"]
    assert back.dtype == bfloat16
    assert back.astype(np.float32).tolist() == [[1.5, -2.0]]


def test_bits_of_the_wrong_width_are_refused(tmp_path):
    pytest.importorskip("ml_dtypes")
    np.save(tmp_path / "x.bfloat16.npy", np.zeros(3, np.uint32))
    with pytest.raises(BadInput, match="bits of bfloat16"):
        read_tensors(tmp_path)
    with pytest.raises(BadInput, match="float19"):
        numpy_dtype("float19")


@pytest.mark.parametrize(
    "array",
    [
        np.array([["Zürich", ""], ["a\nb", "\0"]], dtype=object),
        np.array([b"plain", b"\xff\x00"], dtype=object),
        np.array(["wide", "x"]),
        np.array("scalar", dtype=object),
        np.zeros((0, 2), dtype=object),
    ],
)
def test_text_comes_back_as_str_with_its_shape(tmp_path, array):
    write_tensors(tmp_path, {"words": array})
    back = read_tensors(tmp_path)["words"]
    assert (back.dtype, back.shape) == (np.dtype(object), array.shape)
    for was, now in zip(array.flat, back.flat, strict=True):
        assert now.encode(errors="surrogateescape") == (was if isinstance(was, bytes) else was.encode())


def test_objects_other_than_text_are_never_written(tmp_path):
    with pytest.raises(BadInput, match="holds a Python dict"):
        write_tensors(tmp_path, {"x": np.array([{}], dtype=object)})
    with pytest.raises(BadInput, match="datetime64"):
        write_tensors(tmp_path, {"x": np.array(["2020-01-01"], dtype="datetime64[D]")})


@pytest.mark.parametrize("name", ["../x", "a/b", "", "1x", "a.b", "ü", "x\n"])
def test_names_that_could_leave_the_folder_are_refused(tmp_path, name):
    with pytest.raises(BadInput, match="letters, digits"):
        write_tensors(tmp_path / "here", {name: np.zeros(1)})
    with pytest.raises(BadInput, match="letters, digits"):
        samples_folder(tmp_path, name)


def test_evidence_comes_back_as_it_was_written(tmp_path):
    written = write_release(tmp_path)
    evidence = read_evidence(tmp_path)
    assert evidence == written
    assert (evidence.sets, evidence.rounds_to) == ((SET,), {})
    assert [spec.name for spec in evidence.signature.outputs] == ["b", "a"]
    assert evidence.samples(SET)["image"].shape == (2, 2)
    assert sorted(evidence.reference(SET)) == ["a", "b"]


def test_the_type_that_each_output_of_the_original_rounds_to_comes_back(tmp_path):
    samples = {SET.name: {"image": np.ones((2, 2), np.float32)}}
    write_evidence(tmp_path, signature=SIGNATURE, sets=[SET], samples=samples, rounds_to={"b": "bfloat16"})
    assert read_evidence(tmp_path).rounds_to == {"b": "bfloat16"}


def test_an_output_rounds_to_a_half_precision_type_or_to_none(tmp_path):
    write_release(tmp_path)
    record = tmp_path / "evidence/evidence.json"
    record.write_text(record.read_text("utf-8").replace('"rounds_to": {}', '"rounds_to": {"b": "int8"}'), "utf-8")
    with pytest.raises(BadInput, match=r"rounds_to\.b: Input should be 'float16' or 'bfloat16'"):
        read_evidence(tmp_path)


def test_the_record_is_the_same_bytes_every_time(tmp_path):
    for name in ("one", "two"):
        write_release(tmp_path / name)
    assert len({(tmp_path / name / "evidence/evidence.json").read_bytes() for name in ("one", "two")}) == 1


# Corruption: every fault names its file


def damage_npy(release):
    return release / "evidence/reference/seeded_batch2/b.npy"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (lambda raw: b"", "not a valid .npy file"),
        (lambda raw: b"PK\x03\x04rubbish", "not a valid .npy file"),
        (lambda raw: raw[:-1], "declares 152 bytes, the file has 151"),
        (lambda raw: raw + b"x", "declares 152 bytes, the file has 153"),
        (lambda raw: raw.replace(b"(2, 3)", b"(9, 9)"), "declares"),
        (lambda raw: raw.replace(b"'<f4'", b"'|O' "), "pickled Python objects"),
        (lambda raw: raw.replace(b"\x93NUMPY\x01", b"\x93NUMPY\x07"), "version"),
        (lambda raw: raw.replace(b"'descr'", b"'disco'"), "not a valid .npy file"),
    ],
)
def test_a_damaged_tensor_is_bad_input_that_names_the_file(tmp_path, content, says):
    write_release(tmp_path)
    path = damage_npy(tmp_path)
    path.write_bytes(content(path.read_bytes()))
    with pytest.raises(BadInput, match=says) as error:
        read_evidence(tmp_path).reference(SET)
    assert str(path) in error.value.message


def test_a_header_that_claims_a_petabyte_allocates_nothing(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 3), np.float32))
    raw = (tmp_path / "x.npy").read_bytes()
    huge = raw.replace(b"(2, 3), }       ", b"(999999999999,)}")
    assert len(huge) == len(raw)
    assert huge != raw
    (tmp_path / "x.npy").write_bytes(huge)
    with pytest.raises(BadInput, match="its header declares 4000000000124 bytes"):
        read_npy(tmp_path / "x.npy")


@pytest.mark.filterwarnings("ignore:Reading `.npy` or `.npz` file required additional header parsing")
def test_no_single_damaged_byte_of_a_header_escapes_as_another_error(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.zeros(2, np.float32))
    raw = path.read_bytes()
    messages = []
    for position, value in itertools.product(range(128), (0, 0x27, 0xFF, 0x5B)):
        path.write_bytes(raw[:position] + bytes([value]) + raw[position + 1 :])
        try:
            read_npy(path)
        except BadInput as error:
            messages.append(error.message)
    assert len(messages) > 200
    assert all(str(path) in message for message in messages)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "text tensor"),
        ("[]", "text tensor"),
        ('{"shape": [2], "values": ["a"]}', "text tensor"),
        ('{"shape": [1]}', "text tensor"),
        ('{"shape": [1], "values": [1]}', "other things than text"),
        ('{"shape": [1], "values": [["a"]]}', ""),
        ("[" * 100_000, "text tensor"),
    ],
)
def test_a_damaged_text_tensor_is_bad_input_that_names_the_file(tmp_path, content, says):
    (tmp_path / "words.json").write_text(content)
    if not says:  # a nested list of the right size is the same tensor
        assert read_tensors(tmp_path)["words"].tolist() == ["a"]
        return
    with pytest.raises(BadInput, match=says) as error:
        read_tensors(tmp_path)
    assert "words.json" in error.value.message


@pytest.mark.parametrize("stray", ["notes.txt", "b.json", "x.y.z.npy", "b.float32.npy", ".hidden"])
def test_a_stray_or_doubled_file_is_refused(tmp_path, stray):
    write_release(tmp_path)
    folder = reference_folder(tmp_path, SET.name)
    (folder / stray).write_bytes((folder / "b.npy").read_bytes())
    with pytest.raises(BadInput, match=stray.split(".")[0] or "hidden"):
        read_evidence(tmp_path).reference(SET)


def test_two_files_for_one_tensor_are_refused(tmp_path):
    write_tensors(tmp_path, {"b": np.zeros(1)})
    (tmp_path / "b.json").write_text('{"shape": [1], "values": ["a"]}')
    with pytest.raises(BadInput, match="one NAME"):
        read_tensors(tmp_path)


def test_a_reference_that_lost_an_output_is_refused(tmp_path):
    write_release(tmp_path)
    damage_npy(tmp_path).unlink()
    with pytest.raises(BadInput, match="b: missing"):
        read_evidence(tmp_path).reference(SET)


def test_samples_with_other_rows_than_the_record_says_are_refused(tmp_path):
    write_release(tmp_path)
    np.save(samples_folder(tmp_path, SET.name) / "image.npy", np.ones((3, 2), np.float32))
    with pytest.raises(BadInput, match=r"shape \[3, 2\], valid is 2 rows"):
        read_evidence(tmp_path).samples(SET)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"evidence\.json: cannot be read"):
        read_evidence(tmp_path)
    with pytest.raises(BadInput, match="nowhere: no such folder"):
        read_tensors(tmp_path / "nowhere")


def change(record, *path, to):
    *parents, last = path
    for step in parents:
        record = record[step]
    record[last] = to


@pytest.mark.parametrize(
    ("path", "to", "says"),
    [
        (["sets", 0, "rows"], "many", r"sets\[0\]\.rows: "),
        (["sets", 0, "origin"], "stolen", r"sets\[0\]\.origin: "),
        (["inputs", 0, "shape"], [None, "x"], r"inputs\[0\]\.shape\[1\]"),
        (["outputs"], None, "outputs: "),
        (["sets"], [], "sets: got none"),
        (["sets", 0, "name"], "../../etc", "sample set '../../etc'"),
    ],
)
def test_a_damaged_record_is_bad_input_that_names_the_file_and_the_field(tmp_path, path, to, says):
    write_release(tmp_path)
    file = tmp_path / "evidence/evidence.json"
    record = json.loads(file.read_bytes())
    change(record, *path, to=to)
    file.write_text(json.dumps(record))
    with pytest.raises(BadInput, match=says) as error:
        read_evidence(tmp_path)
    assert str(file) in error.value.message


def test_a_record_that_is_not_json_is_bad_input(tmp_path):
    write_release(tmp_path)
    (tmp_path / "evidence/evidence.json").write_bytes(b'{"sets": [')
    with pytest.raises(BadInput, match="content: Invalid JSON"):
        read_evidence(tmp_path)


@pytest.mark.parametrize("why", ["", "words are looked up"])
def test_only_outputs_of_numbers_that_round_lack_a_floor(why):
    own = Noise(floor=None if why else 1e-7, scale=1.0, rows=8, why=why)
    whole = Noise(floor=None, scale=0.0, rows=8, why="this output holds no numbers that round")
    assert without_floor({SET.name: {"a": whole, "b": own}}, SIGNATURE) == ({"b": why} if why else {})
