"""Adapting in C: the ring's rule and steps on latents, bit for bit what the engine does, over power cycles."""

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fxptrain import Adapting, adapt, train
from fxptrain.cli.main import main
from fxptrain.errors import CheckpointError, RecipeError
from fxptrain.export.boards import BOARDS, build_program, run_program
from fxptrain.export.c99 import export_c, network_of
from fxptrain.export.layers import Network
from fxptrain.export.readback import read_back
from fxptrain.export.ring import behind, encode, ring_bytes, saved_bytes
from fxptrain.export.source import Options, read_source
from fxptrain.export.state import encode as encode_state
from fxptrain.export.state import fingerprint
from fxptrain.nn.engine import inference
from fxptrain.nn.model import Model
from fxptrain.nn.replay import Ring, chosen
from fxptrain.nn.tuning import train_last
from fxptrain.recipe import load_recipe
from fxptrain.run.evaluation import Run, load_run
from tests.export.compiled import COMPILERS, judge
from tests.export.programs import CHECKED, FOLDER, build, run, write_c
from tests.export.recipes import run_of, small_recipe
from tests.export.test_programs import TOOLS, compiled, symbols
from tests.export.test_readback import numbered
from tests.export.test_tuning import SETTINGS, built
from tests.small import small_data

COMPILED = pytest.mark.skipif(not COMPILERS, reason="no C compiler")


def ring_of(model: Model, places: int = 11, samples: int = 40, classes: int = 3) -> Ring:
    """A ring of made-up known samples; of fewer than there are places, some are free."""
    rng = np.random.default_rng(2)
    inputs = rng.integers(0, 256, (samples, *model.spec.input_shape), np.uint8)
    ring, kept = chosen(model, places, rng.integers(0, classes, samples).tolist())
    if len(kept):
        ring.latents[: len(kept)] = inference.latents(model, ring.tensor, inputs[kept])
    return ring


def copied(run: Run) -> Ring:
    """A run's ring, to be changed."""
    assert run.ring is not None
    return Ring.restored(run.model, run.ring.numbers(), run.ring.arrays())


@COMPILED
@pytest.mark.parametrize("name", SETTINGS)
def test_two_hundred_steps(name: str, tmp_path: Path) -> None:
    """Under sanitizers, steps with and without the ring, a power cycle in the middle and formats that move."""
    model = built(*SETTINGS[name])
    found = judge(model, tmp_path, batch=4, steps=200, rate=0.05, ring=ring_of(model))
    assert found.differences == []


@COMPILED
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(("samples", "classes"), [(0, 3), (5, 2), (40, 1)])
def test_rings_that_are_not_full_or_even(samples: int, classes: int, compiler: str, tmp_path: Path) -> None:
    """An empty one, one with free places, one of a single class."""
    model = built(*SETTINGS["last"])
    ring = ring_of(model, 9, samples, classes)
    assert judge(model, tmp_path, batch=3, steps=60, rate=0.05, ring=ring, compiler=compiler).differences == []


@COMPILED
@pytest.mark.parametrize("options", [{"param_bits": 6}, {"param_bits": 12, "activation_bits": 12}])
def test_other_widths(options: dict[str, int], tmp_path: Path) -> None:
    """Packed weights, and latents of 16 bits in an odd number of places."""
    model = built(*SETTINGS["last two"], **options)
    ring = ring_of(model)
    assert judge(model, tmp_path, batch=3, steps=40, rate=0.1, packed=True, ring=ring).differences == []


@TOOLS
@pytest.mark.slow
def test_on_a_board(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command's way: train, adapt, export, verify on an emulated Cortex-M4."""
    train(small_recipe(training__epochs=1), data=small_data(), out=tmp_path / "run", threads=1)
    adapt(tmp_path / "run", small_data(), old=small_data(), out=tmp_path / "ring", asked=Adapting(replay=12), threads=1)
    out = str(tmp_path / "c")
    assert main(["export", str(tmp_path / "ring"), "--training", "--replay", "--out", out]) == 0
    assert main(["verify", out, "--target", "cortex-m4", "--steps", "12"]) == 0
    assert "equal" in capsys.readouterr().out


@COMPILED
@pytest.mark.slow
def test_the_papers_cnn(tmp_path: Path) -> None:
    """Two hundred steps of its last layer with two hundred latents of 400 values."""
    recipe = load_recipe("gupta_cnn")
    model = Model.build(
        train_last(recipe.model, 1), replace(recipe.formats, adapt_every=50), recipe.optimizer, seed=3
    )  # fmt: skip
    ring = ring_of(model, 200, 300, 10)
    assert judge(model, tmp_path, batch=4, steps=200, rate=0.01, ring=ring, options=("-O2",)).differences == []


@COMPILED
def test_what_a_caller_can_get_wrong(tmp_path: Path) -> None:
    """Is refused; no changed bit of a saved ring is taken."""
    model = built(*SETTINGS["last"])
    export = write_c(model, tmp_path / "c", ring=ring_of(model))
    assert run(build("adapting.c", [export], tmp_path / "program")) == 0


@COMPILED
@pytest.mark.parametrize("erases", [1, 0])
def test_power_may_fail_at_any_moment(erases: int, tmp_path: Path) -> None:
    """State and ring from before or both from after come back, of flash or of EEPROM, cut at every byte."""
    model = built(*SETTINGS["last"])
    export = write_c(model, tmp_path / "export", ring=ring_of(model))
    options = (*CHECKED, f"-DERASES={erases}", "-DEVERY=1")
    assert run(build("power_cut.c", [export], tmp_path / "program", options)) == 0


@TOOLS
def test_power_may_fail_on_a_board(tmp_path: Path) -> None:
    """The same on an emulated Cortex-M4, at a hundred moments."""
    model = built(*SETTINGS["last"])
    export = write_c(model, tmp_path / "export", ring=ring_of(model))
    sources = [FOLDER / "power_cut.c", *sorted(export.glob("*.c"))]
    image = build_program(BOARDS["cortex-m4"], sources, [export], tmp_path, ("-O2", "-DCUTS=100"))
    run_program(BOARDS["cortex-m4"], image, tmp_path)


@COMPILED
def test_nothing_is_linked_where_it_is_not_used(tmp_path: Path) -> None:
    """Exports without a ring have none of its code; of those with one, it is in files of its own."""
    model = built(*SETTINGS["last"])
    without, ring = write_c(model, tmp_path / "without"), write_c(model, tmp_path / "with", ring=ring_of(model))
    assert not any("adapt_" in name or "ring" in name for name in symbols(compiled(without), "TRDBC"))
    own = {path.stem for path in compiled(ring) if any("_ring" in n or "adapt_" in n for n in symbols([path], "TR"))}
    assert own == {"fxp_replay", "fxp_replay_slots", "fxp_replay_state", "fxp_ring"}
    program = tmp_path / "program"
    command = ["gcc", "-std=c99", "-Os", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"]
    source = tmp_path / "main.c"
    source.write_text('#include "fxp.h"\nint main(void) { fxp_model m; return (int)fxp_steps(&m) ? 0 : 1; }\n')
    subprocess.run([*command, "-I", ring, source, *ring.glob("*.c"), "-o", program], check=True)
    assert not any("adapt_" in name or "_ring" in name for name in symbols([program], "TtRrDdBb"))


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with a ring."""
    folder, data = tmp_path_factory.mktemp("adapted"), small_data()
    train(small_recipe(training__epochs=1), data=data, out=folder / "run", threads=1)
    return adapt(folder / "run", data, old=data, out=folder / "ring", asked=Adapting(replay=12), threads=1)


def test_a_boards_ring_comes_back(adapted: Run, tmp_path: Path) -> None:
    """With its state, as a run whose ring it is; damaged or foreign bytes are refused in one line."""
    made = replace(adapted, ring=copied(adapted))
    export_c(made, tmp_path / "c", Options(training=True, replay=True))
    net = network_of(*read_source(tmp_path / "c"))
    mark, ring = fingerprint(net), made.ring
    assert ring is not None
    (tmp_path / "state").write_bytes(encode_state(net, mark))
    ring.offer(ring.latents[3].copy(), 2, new=True)
    data = encode(ring, mark)
    (tmp_path / "ring").write_bytes(data)
    read_back(tmp_path / "c", tmp_path / "state", tmp_path / "b", tmp_path / "ring")
    found = load_run(tmp_path / "b").ring
    assert found is not None
    assert all(np.array_equal(array, ring.arrays()[name]) for name, array in found.arrays().items())
    read_back(tmp_path / "c", tmp_path / "state", tmp_path / "d")
    assert load_run(tmp_path / "d").ring is not None
    refused = tmp_path / "e"
    for wrong, told in (
        (data[:9], "no saved ring"), (data[1:], "no saved ring"), (data[:-1], "damaged"),
        (encode(ring, mark + 1), "another model's"), (data[:-1] + bytes([data[-1] ^ 1]), "damaged"),
    ):  # fmt: skip
        (tmp_path / "ring").write_bytes(wrong)
        with pytest.raises(CheckpointError, match=told):
            read_back(tmp_path / "c", tmp_path / "state", refused, tmp_path / "ring")
    assert not refused.exists()


def test_slots_with_rings_come_back(adapted: Run, tmp_path: Path) -> None:
    """Of a dump, the newest state that has its own whole ring behind it, with that ring; else an older pair."""
    export_c(adapted, tmp_path / "c", Options(training=True, replay=True))
    net = network_of(*read_source(tmp_path / "c"))
    mark, ring, began = fingerprint(net), copied(adapted), copied(adapted)
    slots = []
    for number in (7, 8):
        net.model.step = number
        state = numbered(encode_state(net, mark), number)
        ring.offer(np.full_like(ring.latents[0], number), 1, new=True)
        padded = state + bytes(behind(len(state)) - len(state))
        slots.append((padded, encode(ring, mark, number), ring.offered.tolist()))
    (older, old_ring, old_count), (newer, new_ring, new_count) = slots
    for name, dump, step, count in (
        ("both", older + old_ring + b"\xff" * 9 + newer + new_ring, 8, new_count),
        ("torn", newer + new_ring[:-1] + b"?" + older + old_ring, 7, old_count),
        ("another's", older + old_ring + newer + old_ring, 7, old_count),
        ("alone", newer + older, 8, began.offered.tolist()),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(dump)
        assert read_back(tmp_path / "c", tmp_path / name, tmp_path / f"run {name}")["step"] == step
        found = load_run(tmp_path / f"run {name}").ring
        assert found is not None
        assert found.offered.tolist() == count
    (tmp_path / "ring").write_bytes(encode(began, mark))
    read_back(tmp_path / "c", tmp_path / "both", tmp_path / "apart", tmp_path / "ring")
    apart = load_run(tmp_path / "apart").ring
    assert apart is not None
    assert apart.offered.tolist() == began.offered.tolist()


def test_bytes() -> None:
    """In memory by C's layout, saved without gaps; the plan of the memory counts the same but for that."""
    model = built(*SETTINGS["last"])
    ring = ring_of(model)
    values = ring.latents[0].size
    assert ring.bytes == 4 * 6 + 2 * 11 + 11 * values
    assert ring_bytes(ring) == 4 + -(-ring.bytes // 4) * 4
    assert len(encode(ring, 1)) == saved_bytes(ring) == ring.bytes + 24


def test_a_ring_is_of_what_is_trained(tmp_path: Path) -> None:
    """An export that trains other layers, or none, refuses; and so does a run without a ring."""
    one = run_of(small_recipe())
    with pytest.raises(RecipeError, match=r"no ring to replay from.*fxptrain adapt"):
        network_of(one, Options(training=True, replay=True))
    with pytest.raises(RecipeError, match="`replay` is for C that trains"):
        network_of(one, Options(replay=True))
    model, other = built(*SETTINGS["last"]), built(*SETTINGS["last three"])
    with pytest.raises(
        RecipeError, match=r"holds outputs of 6.maxpool2d, and what is trained here reads outputs of 0.stem"
    ):
        Network(other, training=True, ring=ring_of(model))


def test_formats_of_the_run_are_not_held() -> None:
    """Only those of the export, whose model is another one of the same integers."""
    model = built(*SETTINGS["last"])
    one = replace(run_of(small_recipe()), model=model, ring=ring_of(model))
    net = network_of(one, Options(training=True, replay=True))
    assert net.model is not model
    assert not any(stage.y_form.held for stage in model.stages)
    assert [stage.y_form.held for stage in net.model.stages].count(True) >= 1
    assert net.model.weights_sha256() == model.weights_sha256()
