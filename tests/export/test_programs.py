"""The C as a library that a user calls: several models, refusals, power failures, made-up states."""

import math
import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fxptrain.export.boards import BOARDS, COMPILER, EMULATOR, build_program, run_program
from fxptrain.export.interface import Interface
from fxptrain.export.layers import Network
from fxptrain.export.vectors import Batch, Vectors, run_engine
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.nn.engine.inference import logits
from fxptrain.nn.model import Model
from fxptrain.nn.tuning import training_less
from fxptrain.recipe import load_recipe
from tests.export.compiled import COMPILERS, judge
from tests.export.programs import CHECKED, FOLDER, build, run, write_c
from tests.export.recipes import run_of, small_recipe

pytestmark = pytest.mark.skipif(not COMPILERS, reason="no C compiler")
TOOLS = pytest.mark.skipif(not (shutil.which(COMPILER) and shutil.which(EMULATOR)), reason="no Arm compiler or QEMU")
LEFT, RIGHT = Interface("left"), Interface("right", classes=("a", "b", "c"), pixels=False, means=(2.5,), stds=(0.5,))


def small(**options: object) -> Model:
    """A small fresh model."""
    return run_of(small_recipe(**options)).model


def symbols(objects: list[Path], kinds: str) -> set[str]:
    """Names of some kinds (as of nm) that objects define."""
    told = subprocess.run(["nm", *objects], capture_output=True, text=True, check=True).stdout
    return {words[2] for words in map(str.split, told.splitlines()) if len(words) == 3 and words[1] in kinds}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One export that trains on pixels and one that predicts from real numbers, with prefixes."""
    folder = tmp_path_factory.mktemp("pair")
    wide = small(formats__param_bits=12, formats__activation_bits=12, training__seed=3)
    return [write_c(small(), folder / "left", LEFT), write_c(wide, folder / "right", RIGHT, training=False)]


def compiled(source: Path, *options: str) -> list[Path]:
    """Objects of an export, beside its sources."""
    subprocess.run(["gcc", "-std=c99", "-c", *options, *source.glob("*.c")], cwd=source, check=True)
    return sorted(source.glob("*.o"))


# Names -----------------------------------------------------------------------------------------------------------


def test_two_models_run_side_by_side(pair: list[Path], tmp_path: Path) -> None:
    """One trains while the other predicts; both give what they give alone, under the sanitizers."""
    assert run(build("two_models.c", pair, tmp_path / "program")) == 0


@TOOLS
def test_two_models_run_in_one_firmware(pair: list[Path], tmp_path: Path) -> None:
    """The same on an emulated Cortex-M4."""
    sources = [FOLDER / "two_models.c", *(path for export in pair for path in sorted(export.glob("*.c")))]
    image = build_program(BOARDS["cortex-m4"], sources, pair, tmp_path)
    run_program(BOARDS["cortex-m4"], image, tmp_path)


def test_prefixes_share_no_name(pair: list[Path]) -> None:
    """Neither symbols nor guards, macros, types or files; and there is no variable at all."""
    objects = [compiled(export, "-fno-pic") for export in pair]
    outside = [symbols(found, "TRDBC") for found in objects]
    assert outside[0].isdisjoint(outside[1])
    assert all(name.startswith("left_") for name in outside[0])
    assert symbols([*objects[0], *objects[1]], "DBCdbs") == set()
    words = [
        {w for path in export.glob("*.[ch]") for w in re.findall(r"#(?:define|ifndef) (\w+)", path.read_text())}
        for export in pair
    ]
    local = {name for name in words[0] & words[1]}
    assert all(not name.startswith(("FXP", "LEFT", "RIGHT")) for name in local)
    assert all("fxp_" not in path.read_text() for export in pair for path in export.glob("*.[ch]"))


def test_another_models_header_does_not_link(tmp_path: Path) -> None:
    """Exports with one prefix, built as archives: a caller would get the other one's model, so nothing links."""
    exports = [write_c(small(training__seed=seed), tmp_path / str(seed)) for seed in (1, 2)]
    for export in exports:
        user = export / "user.c"
        user.write_text(
            '#include "fxp.h"\nstatic fxp_model m; static uint64_t a[FXP_ARENA_WORDS];\n'
            f"int start_{export.name}(void);\nint start_{export.name}(void) {{ return (int)fxp_init(&m, a); }}\n"
        )
        subprocess.run(["ar", "rcs", tmp_path / f"lib{export.name}.a", *compiled(export)], check=True)
    main = tmp_path / "main.c"
    main.write_text("int start_1(void); int start_2(void); int main(void) { return start_1() + start_2(); }\n")
    command = ["gcc", main, tmp_path / "lib1.a", tmp_path / "lib2.a", "-o", tmp_path / "program"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "multiple definition" in done.stderr


TRAINING = (
    "train|update|adapt|step|form_adapt|form_note|scale_fit|scale_note|conv_(weight|input)|kind_(weight|input)|add_|loss|"
    "exp2|log2|goal|actions|readers|rate"
)
SAVING, ASKING, INPUTS = "state|bytes|put|get|flush", "predict|score|usage|logits", "quantize|input_scales"
PREDICTS = "fxp_predict(&m, x, NULL)"
ADDS = "fxp_train_add(&m, x, 0) + fxp_train_finish(&m, fxp_rate_default()).correct"
STEPS = "fxp_train_step(&m, x, y, 1, fxp_rate_default()).correct"


@pytest.mark.parametrize(
    ("exported", "calls", "unused"),
    [
        (False, PREDICTS, f"{TRAINING}|{SAVING}|{INPUTS}|draw_block|round_stochastic|score|scale"),
        (True, PREDICTS, f"{TRAINING}|{SAVING}|{INPUTS}|score|usage"),
        (True, ADDS, f"{SAVING}|{ASKING}|{INPUTS}"),
        (True, f"{STEPS} + {PREDICTS}", f"{SAVING}|{INPUTS}|score|usage"),
        (True, f"fxp_state_recall(&m, &s) + {PREDICTS}", f"{TRAINING}|score|usage|state_(save|load|keep|out)"),
    ],
)
def test_what_is_not_called_is_not_linked(exported: bool, calls: str, unused: str, tmp_path: Path) -> None:
    """A program takes of an archive what it calls: it predicts, it trains, both, or predicts with what was learned."""
    export = write_c(small(), tmp_path / "export", training=exported)
    flags = ("-Os", "-ffunction-sections", "-fdata-sections")
    subprocess.run(["ar", "rcs", tmp_path / "lib.a", *compiled(export, *flags)], check=True)
    main = tmp_path / "main.c"
    main.write_text(
        '#include "fxp.h"\n'
        "static fxp_model m; static uint64_t a[FXP_ARENA_WORDS]; static fxp_input x[FXP_INPUTS];\n"
        + ("static const uint16_t y[1] = {0}; static const fxp_storage s = {NULL, NULL, NULL, NULL, 0};\n" * exported)
        + f"int main(void) {{ {'(void)y; (void)s;' * exported} return (int)fxp_init(&m, a) + (int)({calls}); }}\n"
    )
    program = tmp_path / "program"
    command = ["gcc", "-std=c99", *flags, "-I", export, main, tmp_path / "lib.a", "-Wl,--gc-sections", "-o", program]
    subprocess.run(command, check=True)
    linked = symbols([program], "TtRr")
    assert "fxp_forward_stage" in linked
    assert [name for name in linked if re.match(rf"fxp_({unused})", name)] == []


# Calls -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("real", "bits"), [(False, 8), (True, 8), (False, 6), (True, 12)])
def test_mistakes_of_a_caller_are_refused(real: bool, bits: int, tmp_path: Path) -> None:
    """Every status, and nothing changes; raw inputs beyond their bits are one, as sums are proved without them."""
    interface, model = Interface(pixels=not real, means=(0.5,)), small(formats__activation_bits=bits)
    assert run(build("refusals.c", [write_c(model, tmp_path / "export", interface)], tmp_path / "program")) == 0


@pytest.mark.parametrize("erases", [1, 0])
def test_power_may_fail_at_any_moment(erases: int, tmp_path: Path) -> None:
    """The state before or the state after comes back, from memory that erases and writes like flash, or like EEPROM."""
    export = write_c(small(), tmp_path / "export")
    assert run(build("power_cut.c", [export], tmp_path / "program", (*CHECKED, f"-DERASES={erases}"))) == 0


@TOOLS
def test_power_may_fail_on_a_board(tmp_path: Path) -> None:
    """The same on an emulated Cortex-M4, at a hundred moments."""
    export = write_c(small(), tmp_path / "export")
    sources = [FOLDER / "power_cut.c", *sorted(export.glob("*.c"))]
    image = build_program(BOARDS["cortex-m4"], sources, [export], tmp_path, ("-O2", "-DCUTS=100"))
    run_program(BOARDS["cortex-m4"], image, tmp_path)


@pytest.mark.parametrize("bits", [8, 6, 16])
def test_made_up_states_do_no_harm(bits: int, tmp_path: Path) -> None:
    """Thousands of changed states, most with a checksum that fits, under the sanitizers."""
    model = small(formats__param_bits=bits, formats__activation_bits=bits, formats__adapt_every=1)
    export = write_c(training_less(model, freeze=int(bits == 6)), tmp_path / "export")
    assert run(build("attack.c", [export], tmp_path / "program", (*CHECKED, "-DROUNDS=4000"))) == 0


def has_fuzzer() -> bool:
    """Whether clang is here, with libFuzzer."""
    if not shutil.which("clang"):
        return False
    entry = b"int LLVMFuzzerTestOneInput(const unsigned char *b, unsigned long n) { return (b == 0) && (n > 0); }"
    command = ["clang", "-fsanitize=fuzzer", "-x", "c", "-", "-o", "/dev/null"]
    return subprocess.run(command, input=entry, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("bits", [8, 6])
def test_libfuzzer_finds_nothing(bits: int, tmp_path: Path) -> None:
    """States that are led by the branches they reach: ten thousand, and nothing is read or written outside."""
    if not has_fuzzer():
        pytest.skip("no clang with libFuzzer")
    model = small(formats__param_bits=bits, formats__activation_bits=bits, formats__adapt_every=1)
    export = write_c(training_less(model, freeze=int(bits == 6)), tmp_path / "export")
    options = (*CHECKED, "-DLIBFUZZER", "-fsanitize=fuzzer")
    program = build("attack.c", [export], tmp_path / "program", options, "clang")
    limits = ["-max_len=4096", "-malloc_limit_mb=64", "-rss_limit_mb=0"]  # a process begins with its parent's peak
    command = [program, "-runs=10000", "-seed=18", *limits, f"-artifact_prefix={tmp_path}/"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert re.search(r"^Done 10000 runs", done.stderr, re.M)


# Languages and compilers -----------------------------------------------------------------------------------------


def test_it_is_cplusplus_too(tmp_path: Path) -> None:
    """The C sources compiled as C++17, every warning an error: the same integers."""
    model = small(formats__param_bits=6)
    found = judge(model, tmp_path, packed=True, compiler="g++", standard="-std=c++17", options=("-O1",))
    assert found.differences == []


@pytest.mark.parametrize("bits", [8, 16])
def test_real_inputs_are_quantized_in_integers(bits: int, tmp_path: Path) -> None:
    """One scale for each channel, several binary points, values far outside: the C gives what its twin gives."""
    channels = Interface("own", pixels=False, means=(0.0, 19.2, -1e6), stds=(1.0, 40.2, 3e-3))
    recipe = small_recipe(
        model__input_shape=[6, 6, 3], formats__activation_bits=bits, formats__param_bits=bits, data__name="made"
    )
    found = judge(run_of(recipe).model, tmp_path, interface=channels, raw=True, training=False)
    assert found.differences == []


MEGA_RAM, MEGA_STACK = 8192, 1024
AVR = pytest.mark.skipif(
    not (shutil.which("avr-gcc") and shutil.which("simavr")), reason="no AVR compiler or simulator"
)


def on_a_mega(export: Path, folder: Path, *options: str) -> list[int]:
    """What `avr.c` tells on an emulated ATmega2560 of an export, whose data fit beside a stack."""
    command = ["avr-gcc", "-std=gnu99", "-Os", "-mmcu=atmega2560", "-ffunction-sections", "-fdata-sections", *options]
    program, sources = folder / "program.elf", [FOLDER / "avr.c", *export.glob("*.c")]
    subprocess.run([*command, "-Wl,--gc-sections", "-I", export, *sources, "-o", program], check=True)
    sizes = subprocess.run(["avr-size", program], capture_output=True, text=True, check=True).stdout.split()
    assert int(sizes[7]) + int(sizes[8]) < MEGA_RAM - MEGA_STACK
    simulator = ["simavr", "-m", "atmega2560", "-f", "16000000", program]
    told = subprocess.run(simulator, capture_output=True, text=True, timeout=300, check=False)
    answer = re.search(r"=((-?\d+ )+)", told.stdout + told.stderr)
    assert answer is not None, told.stdout
    return [int(word) for word in answer[1].split()]


def made_up(shape: tuple[int, ...]) -> np.ndarray:
    """The pixels that `avr.c` makes up."""
    seed, pixels = 5, []
    for _ in range(math.prod(shape)):
        seed = (seed * 1664525 + 1013904223) % 2**32
        pixels.append(seed >> 24)
    return np.array(pixels, np.uint8).reshape(shape)


@pytest.mark.slow
@AVR
def test_an_arduino_mega_keeps_constants_in_flash(tmp_path: Path) -> None:
    """The glyphs' CNN predicts in 8 KB of RAM with the same integers; no weight is in RAM."""
    model = run_of(load_recipe("glyphs")).model
    told = on_a_mega(write_c(model, tmp_path / "export", training=False, batch=1), tmp_path)
    expected = logits(model, made_up((1, 28, 28, 1)))[0].tolist()
    assert told == [expected.index(max(expected)), *expected]


@AVR
@pytest.mark.parametrize(("bits", "packed"), [(8, False), (6, True), (12, False)])
def test_an_arduino_mega_trains(bits: int, packed: bool, tmp_path: Path) -> None:
    """Where `int` has 16 bits: the answers of seven steps and the checksum of the whole state are the engine's."""
    steps, batch = 7, 3
    model = small(formats__param_bits=bits, formats__activation_bits=bits)
    export = write_c(model, tmp_path / "export", batch=batch, packed=packed)
    told = on_a_mega(export, tmp_path, f"-DSTEPS={steps}")
    net, pixels = Network(model, training=True, batch=batch, packed=packed), made_up((1 + steps * batch, 6, 6, 1))
    labels, rate = np.arange(batch, dtype=np.int32), Multiplier.from_real(0.05)
    batches = tuple(Batch(part, labels, rate) for part in np.split(pixels[1:], steps))
    expected = run_engine(net, Vectors(pixels[:1], batches, pixels[:0]))
    values = expected.before[0].tolist()
    right, checksum = [correct for _, correct, _ in expected.steps], struct.unpack("<i", expected.state[-4:])
    assert told == [values.index(max(values)), *values, *right, *checksum]
