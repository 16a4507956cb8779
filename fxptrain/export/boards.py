"""Emulated Cortex-M and RISC-V boards: compile an export, run its verification program under QEMU, count instructions.

QEMU runs one instruction in 64 ns of virtual time (``-icount shift=6``), so the board's SysTick counts instructions,
repeatably; a RISC-V counts them itself. They are instructions, not cycles.
What does not belong here: comparing results (`vectors`).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib import resources
from pathlib import Path

from fxptrain.export.names import DEFAULT_PREFIX
from fxptrain.export.toolchain import STANDARD, c_sources, call, runner_folder, runner_source

WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
NANOSECONDS = 64  # of virtual time an instruction
STACK_BYTES = 1024


@dataclass(frozen=True)
class Machine:
    """A family of cores: its compiler, QEMU, and what its programs begin with.

    Where there is a `front`, that compiles the export and what is verified with it, for all that the core has;
    `compiler` compiles what programs begin with, and links.
    """

    compiler: str
    size: str
    emulator: str
    emulated: tuple[str, ...]
    start: tuple[str, ...]
    libraries: tuple[str, ...]
    front: tuple[str, ...] = ()

    @property
    def programs(self) -> list[str]:
        """What has to be installed."""
        return [self.compiler, self.emulator, *self.front[:1]]


ARM = Machine(
    "arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm", ("-icount", "shift=6"), ("cortex_m.c",), ("-lc_nano",)
)
RISCV = Machine(
    "riscv64-unknown-elf-gcc", "riscv64-unknown-elf-size", "qemu-system-riscv32",
    ("-bios", "none", "-icount", "shift=0"), ("riscv/start.S", "riscv/startup.c"), (),
)  # fmt: skip
VECTORS = replace(  # gcc 12 knows no vectors, clang 14 does
    RISCV,
    emulated=(*RISCV.emulated, "-cpu", "rv32,v=true,vlen=128"),
    front=("clang", "--target=riscv32-unknown-elf", "-march=rv32imacv", "-mabi=ilp32", "-msmall-data-limit=0"),
)
COMPILER, EMULATOR = ARM.compiler, ARM.emulator


@dataclass(frozen=True)
class Board:
    """A machine of QEMU: core, memory (origin, bytes), ticks of its counter in a microsecond, options of the core."""

    name: str
    machine: str
    core: str
    flash: tuple[int, int]
    ram: tuple[int, int]
    mhz: Fraction
    options: tuple[str, ...] = ("-mfloat-abi=soft",)
    family: Machine = ARM

    @property
    def compiled_for(self) -> list[str]:
        """The compiler's options for the core."""
        return [*(("-mthumb", f"-mcpu={self.core}") if self.family is ARM else ()), *self.options]

    def instructions(self, ticks: int) -> int:
        """Instructions that passed in so many ticks."""
        return round(Fraction(ticks * 1000, NANOSECONDS) / self.mhz)


_K, _M = 1 << 10, 1 << 20
_RAM = 0x20000000
_EVERY = Fraction(1000, NANOSECONDS)  # of a counter of instructions
_RV32 = ("-mabi=ilp32", "-msmall-data-limit=0", "-mno-relax")
BOARDS = {
    board.name: board
    for board in (
        Board("microbit", "microbit", "cortex-m0", (0, 256 * _K), (_RAM, 16 * _K), Fraction(16)),
        Board("netduino2", "netduino2", "cortex-m3", (0x08000000, _M), (_RAM, 128 * _K), Fraction(120)),
        Board("cortex-m0", "mps2-an385", "cortex-m0", (0, 4 * _M), (_RAM, 4 * _M), Fraction(25)),
        Board("cortex-m3", "mps2-an385", "cortex-m3", (0, 4 * _M), (_RAM, 4 * _M), Fraction(25)),
        Board("cortex-m4", "mps2-an386", "cortex-m4", (0, 4 * _M), (_RAM, 4 * _M), Fraction(25)),
        Board("cortex-m33", "mps2-an505", "cortex-m33", (0x10000000, 4 * _M), (0x38000000, 4 * _M), Fraction(20)),
        Board(
            "cortex-m55", "mps3-an547", "cortex-m55", (0x10000000, 512 * _K), (0x30000000, 512 * _K), Fraction(32),
            ("-mfloat-abi=hard",),
        ),
        Board(
            "rv32imac", "virt", "rv32imac", (0x80000000, 4 * _M), (0x80400000, 4 * _M), _EVERY,
            ("-march=rv32imac", *_RV32), RISCV,
        ),
        Board(
            "rv32imacv", "virt", "rv32imacv", (0x80000000, 4 * _M), (0x80400000, 4 * _M), _EVERY,
            ("-march=rv32imac", *_RV32), VECTORS,
        ),
        Board(
            "rv32i", "virt", "rv32i", (0x80000000, 4 * _M), (0x80400000, 4 * _M), _EVERY,
            ("-march=rv32i", *_RV32), RISCV,
        ),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Image:
    """A linked program and its bytes: `flash` of code and constants, `ram` without the stack."""

    path: Path
    flash: int
    ram: int


def board_folder() -> Path:
    """Where start-up code, linker script and semihosting are."""
    return Path(str(resources.files("fxptrain.export") / "board"))


def build_image(
    board: Board, sources: Path, build: Path, options: Sequence[str] = ("-O2",), prefix: str = DEFAULT_PREFIX
) -> Image:
    """Compile and link an export with its verification program for a board.

    Raises
    ------
    FxptrainError
        If the compiler is missing or complains, or the program does not fit into the board's memory.
    """
    files = [*c_sources(sources, prefix), runner_source(build, prefix)]
    return build_program(board, files, [sources], build, options)


def build_program(
    board: Board, sources: Sequence[Path], folders: Sequence[Path], build: Path, options: Sequence[str] = ("-O2",)
) -> Image:
    """Compile and link any program, with headers in some folders, for a board.

    Raises
    ------
    FxptrainError
        As `build_image`.
    """
    folder, runner = board_folder(), runner_folder()
    memory = {"FLASH_O": board.flash[0], "FLASH_L": board.flash[1], "RAM_O": board.ram[0], "RAM_L": board.ram[1]}
    symbols = [f"-Wl,--defsym={name}={value}" for name, value in (memory | {"STACK_L": STACK_BYTES}).items()]
    family = board.family
    compiled = [STANDARD, *options, *WARNINGS, "-ffreestanding", "-ffunction-sections", "-fdata-sections"]
    linked: list[str | Path] = ["-Wl,--gc-sections", "-nostartfiles", "-nostdlib", "-T", folder / "link.ld", *symbols]
    own = () if family is ARM else (folder / "riscv",)
    included = [word for path in (*folders, runner, folder, *own) for word in ("-I", path)]
    given = list(sources)
    if family.front:
        objects = build / "objects"
        objects.mkdir()
        call([*family.front, *compiled, *included, "-c", *given], objects, f"Compiling for {board.name}")
        given = sorted(objects.glob("*.o"))
    files = [*given, *(folder / name for name in family.start), folder / "semihost.c"]
    image = build / "image.elf"
    call(
        [family.compiler, *board.compiled_for, *compiled, *linked, *included, *files, *family.libraries, "-lgcc", "-o",
         image],
        build, f"Compiling for {board.name}",
    )  # fmt: skip
    text, data, bss = map(int, call([family.size, image], build, "Measuring the program").splitlines()[1].split()[:3])
    return Image(image, text + data, data + bss)


def run_image(board: Board, image: Image, vectors: bytes, build: Path, seconds: float = 600) -> tuple[bytes, int]:
    """Run a program under QEMU on `vectors`; returns its results and the greatest depth of its stack."""
    (build / "vectors.bin").write_bytes(vectors)
    run_program(board, image, build, seconds)
    return (build / "results.bin").read_bytes(), struct.unpack("<I", (build / "stack.bin").read_bytes())[0]


def run_program(board: Board, image: Image, build: Path, seconds: float = 600) -> None:
    """Run a program under QEMU in a folder.

    Raises
    ------
    FxptrainError
        If it ends with another code than 0, or not in time.
    """
    machine = ["-M", board.machine, *board.family.emulated, "-display", "none", "-monitor", "none", "-serial", "none"]
    calls: list[str | Path] = ["-semihosting-config", "enable=on,target=native", "-kernel", image.path]
    call([board.family.emulator, *machine, *calls], build, f"The program on {board.name}", seconds)
