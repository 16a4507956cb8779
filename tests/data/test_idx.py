import gzip
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fxptrain.data.dataset import Dataset
from fxptrain.data.idx import find_parts, read_idx, read_idx_directory
from fxptrain.data.sources import dataset_of
from fxptrain.errors import DataError
from tests.data.idx_files import CODES, idx_bytes, write_set

IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A directory with a good set."""
    write_set(tmp_path / "small")
    return tmp_path / "small"


def load_idx(directory: Path, name: str, classes: tuple[str, ...] | None = None) -> Dataset:
    """A data set of a directory."""
    return dataset_of(read_idx_directory(directory, name, classes))


def put(directory: Path, name: str, content: bytes) -> None:
    """Replace a file by the gzip of `content`."""
    (directory / name).write_bytes(gzip.compress(content))


def test_by_hand(tmp_path: Path) -> None:
    """Two images of 1x3 bytes, written byte by byte."""
    file = tmp_path / "x"
    file.write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 1, 2, 3, 253, 254, 255]))
    array = read_idx(file)
    assert array.tolist() == [[[1, 2, 3]], [[253, 254, 255]]]
    assert array.dtype == np.uint8
    assert array.flags.writeable


@given(
    hnp.arrays(
        st.sampled_from([np.dtype(code) for code in CODES]),
        hnp.array_shapes(max_dims=4, max_side=4, min_side=0),
        elements={"allow_nan": False},
    ),
    st.booleans(),
)
def test_reads_what_was_written(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, compress: bool) -> None:
    """Every type and shape survives, plain or gzip."""
    file = tmp_path_factory.mktemp("idx") / "x"
    file.write_bytes(gzip.compress(idx_bytes(array)) if compress else idx_bytes(array))
    back = read_idx(file)
    assert back.shape == array.shape
    assert back.dtype == array.dtype
    assert (back == array).all()


def test_load(images: Path) -> None:
    """Four files make a data set with a channel axis and numbered classes."""
    data = load_idx(images, "small")
    assert data.train.inputs.shape == (12, 4, 4, 1)
    assert data.train.inputs.dtype == np.uint8
    assert data.test.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert data.classes == ("0", "1", "2")


def test_a_plain_file_goes_before_its_twin(images: Path) -> None:
    """Of x and x.gz, x is read."""
    (images / IMAGES.removesuffix(".gz")).write_bytes(idx_bytes(np.full((12, 4, 4), 7, np.uint8)))
    assert (load_idx(images, "small").train.inputs == 7).all()


def test_other_spellings(tmp_path: Path) -> None:
    """EMNIST's prefix and a dot before idx are understood."""
    write_set(tmp_path)
    for file in list(tmp_path.iterdir()):
        name = file.name.replace("t10k", "test").replace("-idx", ".idx")
        file.rename(tmp_path / f"emnist-letters-{name}")
    assert len(find_parts(tmp_path)) == 4
    assert len(load_idx(tmp_path, "letters").train) == 12


def test_real_numbers(images: Path) -> None:
    """Float images become float32 reals, and so do the other split's; pixels of 0 to 1 and of 0 to 255 do not mix."""
    put(images, IMAGES, idx_bytes(np.full((12, 4, 4), 25.5, np.float64)))
    data = load_idx(images, "small")
    assert data.train.inputs.dtype == data.test.inputs.dtype == np.float32
    put(images, IMAGES, idx_bytes(np.full((12, 4, 4), 0.25, np.float64)))
    with pytest.raises(
        DataError, match=r"t10k.* are pixels 0 to 255, .*train.* are real numbers 0 to 1\. Give both in"
    ):
        load_idx(images, "small")


def test_empty_file(images: Path) -> None:
    """An empty file is named as no IDX file."""
    (images / IMAGES).write_bytes(b"")
    with pytest.raises(DataError, match=rf"{IMAGES}: is no IDX file; it begins with the bytes \(none\)"):
        load_idx(images, "small")


def test_a_web_page(images: Path) -> None:
    """An error page saved under the file's name is no IDX file."""
    (images / IMAGES).write_bytes(b"<html>404</html>")
    with pytest.raises(DataError, match=r"is no IDX file; it begins with the bytes 3c 68 74 6d"):
        load_idx(images, "small")


@pytest.mark.parametrize("magic", [b"\0\0\x07\x03", b"\0\0\x08\x00", b"\0\1\x08\x01"])
def test_bad_magic(images: Path, magic: bytes) -> None:
    """Unknown type, no dimension or a foreign first byte."""
    put(images, IMAGES, magic + bytes(40))
    with pytest.raises(DataError, match="is no IDX file"):
        load_idx(images, "small")


def test_every_truncation(tmp_path: Path) -> None:
    """Cut at any byte, plain or gzip, a file is refused."""
    whole = idx_bytes(np.arange(8, dtype=np.uint8).reshape(2, 2, 2))
    file = tmp_path / "x"
    for content in (whole, gzip.compress(whole)):
        for length in range(len(content)):
            file.write_bytes(content[:length])
            with pytest.raises(DataError, match=r"truncated|is no IDX file|gzip data is damaged"):
                read_idx(file)


def test_every_flipped_bit_of_gzip(tmp_path: Path) -> None:
    """A flipped bit is noticed, or is one without meaning (the time in the header, padding): never a wrong pixel."""
    array = np.arange(64, dtype=np.uint8).reshape(4, 4, 4)
    whole = gzip.compress(idx_bytes(array), mtime=0)
    file = tmp_path / "x"
    refused = 0
    for byte in range(len(whole)):
        for bit in range(8):
            file.write_bytes(whole[:byte] + bytes([whole[byte] ^ 1 << bit]) + whole[byte + 1 :])
            try:
                assert (read_idx(file) == array).all()
            except DataError:
                refused += 1
    assert refused > 8 * (len(whole) - 12)


def test_a_lying_header_allocates_nothing(tmp_path: Path) -> None:
    """A header that promises 2**96 bytes is a truncated file, not a full memory."""
    file = tmp_path / "x"
    file.write_bytes(struct.pack(">HBB3I", 0, 8, 3, *(0xFFFFFFFF,) * 3) + b"abc")
    with pytest.raises(DataError, match="is truncated; its header promises 79228162458924105385300197375 bytes"):
        read_idx(file)


def test_too_long(images: Path) -> None:
    """One byte more than the header says."""
    put(images, LABELS, idx_bytes(np.zeros(12, np.uint8)) + b"x")
    with pytest.raises(DataError, match=rf"{LABELS}: has more than the 12 bytes of shape \(12,\)"):
        load_idx(images, "small")


def test_count_mismatch(images: Path) -> None:
    """One label fewer than images."""
    put(images, LABELS, idx_bytes(np.zeros(11, np.uint8)))
    with pytest.raises(DataError, match=rf"{IMAGES}: has 12 images, but {LABELS} has 11 labels"):
        load_idx(images, "small")


def test_swapped_files(images: Path) -> None:
    """Labels under the images' name, images under the labels' name."""
    a, b = images / IMAGES, images / LABELS
    kept = a.read_bytes()
    a.write_bytes(b.read_bytes())
    with pytest.raises(DataError, match=rf"{IMAGES}: holds 12 labels where images are expected. Were the files"):
        load_idx(images, "small")
    b.write_bytes(kept)
    write_set(images)
    b.write_bytes(kept)
    with pytest.raises(DataError, match=rf"{LABELS}: holds data of shape \(12, 4, 4\) where labels"):
        load_idx(images, "small")


def test_label_out_of_range(images: Path) -> None:
    """With the classes known, a label beyond them is named with its sample."""
    labels = np.zeros(12, np.uint8)
    labels[5] = 3
    put(images, LABELS, idx_bytes(labels))
    with pytest.raises(DataError, match="small, training split: label 3 of sample 5 is out of range"):
        load_idx(images, "small", ("a", "b", "c"))


def test_label_that_training_does_not_have(images: Path) -> None:
    """Without names, the training split says which classes there are."""
    put(images, "t10k-labels-idx1-ubyte.gz", idx_bytes(np.array([0, 1, 2, 9, 0, 0], np.uint8)))
    with pytest.raises(DataError, match="test split: label 9 of sample 3 is out of range; the classes are 0 to 2"):
        load_idx(images, "small")


def test_real_labels(images: Path) -> None:
    """Labels of a float type are class numbers where they are whole, else refused."""
    put(images, LABELS, idx_bytes(np.arange(12, dtype=np.float32) % 3))
    assert load_idx(images, "small").train.labels.tolist() == [0, 1, 2] * 4
    put(images, LABELS, idx_bytes(np.full(12, 0.5, np.float32)))
    with pytest.raises(DataError, match=r"label 0.5 of sample 0 is no class number"):
        load_idx(images, "small")


def test_shapes_of_the_splits_differ(images: Path) -> None:
    """Test images of another size."""
    put(images, "t10k-images-idx3-ubyte.gz", idx_bytes(np.zeros((6, 5, 4), np.uint8)))
    with pytest.raises(DataError, match=re.escape("training inputs are uint8 (4, 4, 1), test inputs uint8 (5, 4, 1)")):
        load_idx(images, "small")


@pytest.mark.parametrize("shape", [(12, 0, 4), (12, 2, 2, 2, 2)])
def test_misshaped_images(images: Path, shape: tuple[int, ...]) -> None:
    """No pixels, or too many dimensions."""
    put(images, IMAGES, idx_bytes(np.zeros(shape, np.uint8)))
    with pytest.raises(DataError, match=r"of shape|have shape"):
        load_idx(images, "small")


def test_no_samples(images: Path) -> None:
    """A training split without samples."""
    put(images, IMAGES, idx_bytes(np.zeros((0, 4, 4), np.uint8)))
    put(images, LABELS, idx_bytes(np.zeros(0, np.uint8)))
    with pytest.raises(DataError, match="small: the training split has no samples"):
        load_idx(images, "small")


def test_missing_files(images: Path) -> None:
    """All missing files are named at once."""
    (images / IMAGES).unlink()
    (images / LABELS).unlink()
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\[.gz\], train-labels-idx1-ubyte\[.gz\] are missing"):
        load_idx(images, "small")


def test_two_sets_in_one_directory(images: Path) -> None:
    """Two files that could be the same part."""
    (images / f"other-{IMAGES}").write_bytes(b"")
    with pytest.raises(DataError, match=r"could be the train images. Keep one set in a directory"):
        load_idx(images, "small")


def test_unreadable(tmp_path: Path) -> None:
    """A directory where a file is expected, and the other way round."""
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path)
    with pytest.raises(DataError, match="cannot be listed"):
        find_parts(tmp_path / "nowhere")
