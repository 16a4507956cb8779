from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fxptrain.data.signature import Signature
from fxptrain.data.sources import load_data, load_parts
from fxptrain.data.unlabelled import load_inputs
from fxptrain.errors import DataError
from tests.extras import needs

pytestmark = needs("images", "PIL")


def pixels(seed: int, *shape: int) -> npt.NDArray[np.uint8]:
    """Any pixels."""
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def save(path: Path, array: npt.NDArray[np.uint8], mode: str | None = None, **options: object) -> npt.NDArray[np.uint8]:
    """Write a picture; returns its pixels."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return array


def test_a_folder_is_a_class(tmp_path: Path) -> None:
    """Every folder is a class by its name, every picture a sample with the pixels it was saved with."""
    wanted = {
        (name, i): save(tmp_path / name / f"{i}.png", pixels(10 * i + len(name), 5, 7, 3))
        for name in ("sky", "apple")
        for i in range(3)
    }
    (tmp_path / "sky" / "Thumbs.db").write_bytes(b"no picture")
    save(tmp_path / ".cache" / "0.png", pixels(1, 2, 2))
    parts = load_parts(tmp_path)
    inputs, labels, _ = parts.splits["all"]
    assert parts.classes == ("apple", "sky")
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert np.array_equal(inputs, np.stack([wanted[name, i] for name in ("apple", "sky") for i in range(3)]))
    assert load_data(tmp_path).input_shape == (5, 7, 3)


def test_folders_of_splits(tmp_path: Path) -> None:
    """`train`, `val` and `test` are splits if nothing else lies beside them; else they are classes like others."""
    for split, count in (("train", 3), ("Test", 2), ("val", 1)):
        for name in ("a", "b"):
            for i in range(count):
                save(tmp_path / split / name / f"{i}.png", pixels(i, 4, 4))
    data = load_data(tmp_path)
    assert {name: len(split) for name, split in data.named_splits().items()} == {"train": 6, "validation": 2, "test": 4}
    assert data.input_shape == (4, 4, 1)
    save(tmp_path / "test" / "c" / "0.png", pixels(0, 4, 4))
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match=r"other: its pictures lie in no folder|holds no pictures|one folder for each"):
        load_data(tmp_path)


def test_folders_of_numbers_are_class_numbers(tmp_path: Path) -> None:
    """Folders 0, 1, 10 are these classes, as labels in a table are, not texts in alphabetical order."""
    for number in (0, 1, 2, 10):
        save(tmp_path / str(number) / "x.png", pixels(number, 4, 4))
    parts = load_parts(tmp_path)
    assert sorted(parts.splits["all"][1].tolist()) == [0, 1, 2, 10]
    assert parts.classes is None
    assert not parts.texts


def test_grey_pictures_among_colours(tmp_path: Path) -> None:
    """A grey picture among coloured ones has its grey in all three channels, and a line says so."""
    grey = save(tmp_path / "a" / "0.png", pixels(0, 4, 4))
    save(tmp_path / "b" / "0.png", pixels(1, 4, 4, 3))
    save(tmp_path / "b" / "1.png", pixels(2, 4, 4, 3), "P")
    parts = load_parts(tmp_path)
    assert np.array_equal(parts.splits["all"][0][0], np.repeat(grey[..., None], 3, axis=2))
    assert parts.notes == (f"1 of 3 pictures are grey ({tmp_path / 'a' / '0.png'}); all are read as colours.",)


def test_a_photo_stands_upright(tmp_path: Path) -> None:
    """A photo that its camera marks as turned is read as people see it."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    array = pixels(0, 4, 6, 3)
    save(tmp_path / "a" / "0.png", array, exif=exif)
    save(tmp_path / "a" / "1.png", pixels(1, 6, 4, 3))
    assert np.array_equal(load_parts(tmp_path).splits["all"][0][0], np.rot90(array, -1))


def _sixteen_bits(place: Path) -> None:
    from PIL import Image

    Image.fromarray(np.arange(16, dtype=np.uint16).reshape(4, 4)).save(place / "a" / "1.png")


def _transparent(place: Path) -> None:
    save(place / "a" / "1.png", np.full((4, 4, 4), 7, np.uint8))


def _several(place: Path) -> None:
    from PIL import Image

    frames = [Image.fromarray(pixels(i, 4, 4)) for i in range(2)]
    frames[0].save(place / "a" / "1.gif", save_all=True, append_images=frames[1:])


def _cut(place: Path) -> None:
    save(place / "a" / "1.png", pixels(1, 4, 4))
    whole = (place / "a" / "1.png").read_bytes()
    (place / "a" / "1.png").write_bytes(whole[: len(whole) // 2])


def _nested(place: Path) -> None:
    save(place / "a" / "more" / "1.png", pixels(1, 4, 4))


@pytest.mark.parametrize(
    ("spoil", "wrong"),
    [
        (lambda place: save(place / "a" / "1.png", pixels(1, 4, 5)), r"1\.png: has 5 x 4 pixels, .*0\.png has 4 x 4"),
        (lambda place: save(place / "1.png", pixels(1, 4, 4)), r"its pictures \(1\.png\) lie in no folder of a class"),
        (lambda place: (place / "b").mkdir(), r"b: is taken for a class, and holds no pictures"),
        (lambda place: (place / "a" / "1.png").write_text("<svg>"), r"1\.png: is no picture that can be read"),
        (_sixteen_bits, r"1\.png: has pixels of kind I;16; grey ones of 8 bits, RGB and palettes are read"),
        (_transparent, r"1\.png: is transparent in places"),
        (_several, r"1\.gif: holds 2 pictures"),
        (_cut, r"1\.png: is no picture that can be read"),
        (_nested, r"more: holds pictures inside the folder of a class"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, spoil: object, wrong: str) -> None:
    """What cannot be told, or would have to be changed, is refused with the file."""
    save(tmp_path / "a" / "0.png", pixels(0, 4, 4))
    assert callable(spoil)
    spoil(tmp_path)
    with pytest.raises(DataError, match=wrong):
        load_parts(tmp_path)


def test_memory_is_known_before_it_is_taken(tmp_path: Path) -> None:
    """What the pixels take is compared with the limit before they are decoded."""
    save(tmp_path / "a" / "0.png", pixels(0, 8, 8))
    with pytest.raises(DataError, match="takes 64 bytes of memory"):
        load_parts(tmp_path, limit=63)


def test_pictures_to_predict(tmp_path: Path) -> None:
    """One picture is a sample, a directory is its pictures by name; a grey one suits a model of colours."""
    second, first = save(tmp_path / "b.png", pixels(0, 4, 4, 3)), save(tmp_path / "a.png", pixels(1, 4, 4, 3))
    assert np.array_equal(load_inputs(tmp_path)[0], np.stack([first, second]))
    grey = save(tmp_path / "grey" / "c.png", pixels(2, 4, 4))
    run = Signature(shape=(4, 4, 3), input_shape=(4, 4, 3), pixels=True, classes=("x", "y"))
    assert np.array_equal(load_inputs(tmp_path / "grey" / "c.png", run)[0][0], np.repeat(grey[..., None], 3, axis=2))
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="holds no pictures"):
        load_inputs(tmp_path / "none")
