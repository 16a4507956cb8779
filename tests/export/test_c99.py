"""Files of the C export: deterministic, explained, free of what a microcontroller lacks; mistakes are explained."""

import re
from pathlib import Path
from typing import Any

import pytest

from fxptrain.errors import FxptrainError
from fxptrain.export.c99 import export_c, network_of, runtime_files
from fxptrain.export.layers import Network
from fxptrain.export.plan import plan
from fxptrain.export.source import Options, read_source
from fxptrain.nn.tuning import training_less
from tests.export.recipes import gupta_like, run_of, small_recipe

FORBIDDEN = re.compile(r"\b(float|double|malloc|calloc|realloc|free|printf|goto|setjmp|long|short|unsigned|char)\b")


def files_in(folder: Path) -> list[str]:
    """All files of an export."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def without_comments(text: str) -> str:
    """C without its comments."""
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("name", sorted(runtime_files()))
def test_the_runtime_is_integers_of_fixed_width(name: str) -> None:
    """No float, no allocation, no type whose width a compiler chooses, no library but memory copies."""
    text = runtime_files()[name]
    assert FORBIDDEN.findall(without_comments(text)) == []
    headers = set(re.findall(r"#include <(\S+)>", text))
    assert headers <= {"stdint.h", "stddef.h", "string.h", "arm_acle.h", "arm_mve.h", "riscv_vector.h"}
    assert ("arm_acle.h" in headers) == (name == "fxp_forward_dot.h")
    assert len(text.splitlines()) < 300


def test_arithmetic_right_shifts_have_one_helper() -> None:
    """No other place shifts a signed 64-bit number to the right with a variable that might be negative."""
    users = [name for name, text in runtime_files().items() if "value >> shift" in without_comments(text)]
    assert users == ["fxp_rounding.h"]


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    """Two exports, made from two builds of the model, are equal file by file."""
    for name in ("a", "b"):
        export_c(run_of(small_recipe()), tmp_path / name, Options(training=True))
    files = files_in(tmp_path / "a")
    assert files == files_in(tmp_path / "b")
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)


def test_an_export_knows_its_source(tmp_path: Path) -> None:
    """The model in an export is the model that was exported, with the options of the export."""
    run, options = run_of(small_recipe()), Options(training=True, batch=3, freeze=1)
    made = export_c(run, tmp_path / "out", options)
    again, found = read_source(tmp_path / "out")
    assert found == options
    assert again.model.weights_sha256() == run.model.weights_sha256()
    assert files_in(tmp_path / "out") == made["files"]


def test_weights_stand_with_format_range_and_shape(tmp_path: Path) -> None:
    """What a reader of the generated file sees."""
    export_c(run_of(small_recipe()), tmp_path / "out", Options())
    text = (tmp_path / "out" / "fxp_data.c").read_text()
    assert re.search(
        r"/\* 0\.conv2d, weights: FxP\(8, \d\), 4 x 3 x 3 x 1 as \(co, kh, kw, ci\), raw -\d+ to \d+ \*/", text
    )
    assert "momentum_0" not in text


def test_training_takes_memory_that_freezing_saves() -> None:
    """The arena shrinks with every layer that is not trained, and most without training."""
    sizes = [
        plan(Network(training_less(run_of(gupta_like(8, "sqpu")).model, freeze=freeze), training=True, batch=4)).total
        for freeze in range(4)
    ]
    alone = plan(Network(run_of(gupta_like(8, "sqpu")).model, training=False)).total
    assert sorted(sizes, reverse=True) == sizes
    assert alone < sizes[-1]


def test_sums_are_narrow_where_formats_prove_it() -> None:
    """8-bit operands sum in 32 bits, 16-bit ones in 64."""
    for bits, width in ((8, 32), (16, 64)):
        net = Network(run_of(gupta_like(bits, "sqpu", **{"formats.error_bits": 8})).model, training=True, batch=4)
        assert net.sum_bits("forward") == width
    assert Network(run_of(gupta_like(8, "sqpu")).model, training=True, batch=4).sum_bits("gradient") == 32


@pytest.mark.parametrize(
    ("options", "changes", "match"),
    [
        (Options(training=True), {"optimizer__method": "ste"}, "`ste` keeps 32-bit master copies"),
        (Options(training=True, batch=0), {}, r"`batch` \(=0\)"),
        (
            Options(training=True),
            {"optimizer__momentum_units": "weight", "formats__momentum_frac": 7},
            r"`optimizer\.momentum_units` \(='weight'\) is not in the C runtime",
        ),
        (Options(training=True), {"optimizer__decay_of": "magnitude"}, r"`optimizer\.decay_of` \(='magnitude'\)"),
        (Options(training=True), {"formats__momentum_frac": "param"}, r"`formats\.momentum_frac` \(='param'\)"),
        (Options(training=True, freeze=2), {}, r"`freeze` \(=2\) must leave a layer to train: 0 to 1"),
    ],
)
def test_mistakes(options: Options, changes: dict[str, Any], match: str) -> None:
    """The message names the option and its range."""
    with pytest.raises(FxptrainError, match=match):
        network_of(run_of(small_recipe(**changes)), options)


def test_other_files_are_not_overwritten(tmp_path: Path) -> None:
    """A directory with something else in it is refused; that of an older export is used again."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    with pytest.raises(FxptrainError, match="holds other files"):
        export_c(run_of(small_recipe()), tmp_path / "out", Options())
    export_c(run_of(small_recipe()), tmp_path / "new", Options())
    export_c(run_of(small_recipe()), tmp_path / "new", Options(training=True))
