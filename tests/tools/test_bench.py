"""The pure parts of `tools/bench`: statistics, rows, plans, tables, the protocol and the float peer on NumPy."""

import doctest
import io
import json

import numpy as np
import pytest
from click.testing import CliRunner

from fxptrain.nn import spec as s
from tests.small import small_recipe
from tools.bench_suite import __main__, cases, contract, figures, machine, native, plot, results, table, worker
from tools.bench_suite.cases import OWN, PEERS, Case, Contender, Plan, turns
from tools.bench_suite.figures import Times, growth, macs_per_image, rows, significant
from tools.bench_suite.float_models import FloatTask, build_layers, load_task
from tools.bench_suite.fxptrain_library import check_against_oracle
from tools.bench_suite.numpy_library import NumpyNetwork, col2im, cross_entropy, im2col, squared_error
from tools.bench_suite.samples import make_samples
from tools.bench_suite.scaling import growths

ROW_KEYS = {
    *("model", "mode", "batch", "threads", "formats", "images_per_second", "gmac_per_second", "share_of_peak"),
    *("peer", "peer_images_per_second", "ratio"),
}
CASE = Case("gupta_cnn", "training", 64, 1)


def example_rows() -> list[dict[str, object]]:
    """Rows of two own formats and two peers at one case, and of one without peers at another."""
    times = {
        (CASE, OWN[0]): Times([[0.01, 0.02, 0.03], [0.02, 0.02]]),
        (CASE, OWN[1]): Times([[0.04, 0.04]]),
        (CASE, PEERS[0]): Times([[0.05, 0.06], [0.04, 0.05]]),
        (CASE, PEERS[1]): Times([[0.02, 0.02]]),
        (Case("mlp_pocket", "inference", 1, 2), OWN[0]): Times([[0.001, 0.001]]),
    }
    return rows(times, {"gupta_cnn": [1000, 0, 2000], "mlp_pocket": [500]}, {1: 1e9, 2: 2e9})


def test_median_counts_every_turn_once() -> None:
    """A slow turn with few runs weighs as much as a fast one with many."""
    times = Times([[1.0] * 100, [3.0, 3.0], [2.0]])
    assert (times.typical, times.fastest) == (2.0, 1.0)


def test_macs_of_a_training_step() -> None:
    """Forward, gradients, and input errors of all layers but the first that multiplies."""
    assert macs_per_image([0, 10, 5], "training") == 2 * 10 + 3 * 5
    assert macs_per_image([0, 10, 5], "inference") == 15
    assert macs_per_image([], "training") == 0


def test_rows_compare_with_each_peer_of_the_same_case() -> None:
    """One row for each own format and peer; rates, work, share and ratio follow from the medians."""
    found = example_rows()
    assert [(row["formats"], row["peer"]) for row in found] == [
        ("w8a8e8", "torch-fp32"), ("w8a8e8", "torch-bf16"), ("w16a16e16", "torch-fp32"), ("w16a16e16", "torch-bf16"),
        ("w8a8e8", None),
    ]  # fmt: skip
    first = found[0]
    assert first["images_per_second"] == 64 / 0.02
    assert first["fastest_images_per_second"] == 64 / 0.01
    assert first["gmac_per_second"] == pytest.approx(3200 * (3 * 3000 - 1000) / 1e9, rel=1e-3)
    assert first["share_of_peak"] == pytest.approx(0.0256, rel=1e-3)
    assert (first["ratio"], first["fastest_ratio"]) == (2.5, 4.0)
    assert first["peer_images_per_second"] == 64 / 0.05
    assert found[1]["ratio"] == 1.0


def test_rows_have_all_keys_and_are_json() -> None:
    """Every row has the promised keys, those without a peer too, and survives JSON."""
    found = example_rows()
    assert all(row.keys() >= ROW_KEYS for row in found)
    assert len({frozenset(row) for row in found}) == 1
    assert found[-1]["ratio"] is None
    assert json.loads(results.lines(found)) == found


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (123456.0, 123500.0), (0.00123456, 0.001235), (-2.5, -2.5)])
def test_significant_digits(value, expected) -> None:
    """Four digits that matter, wherever the point stands."""
    assert significant(value) == expected


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 1.0, 1.5])
def test_growth_finds_the_exponent(exponent) -> None:
    """The exponent of a power law, in any order of the points, from two points on."""
    sizes = [16, 1, 4, 2, 8]
    assert growth(sizes, [3 * size**exponent for size in sizes]) == pytest.approx(exponent, abs=1e-9)
    assert growth([1, 10], [1, 10**exponent]) == pytest.approx(exponent)


def test_growth_looks_at_the_upper_half() -> None:
    """A constant cost that dominates the small sizes does not hide how the large ones grow."""
    assert growth([1, 2, 4, 8, 16], [100, 100, 100, 200, 400]) == 1.0


def test_scaling_is_judged_against_batch_or_macs() -> None:
    """The batch sweep by its size, the others by their MACs."""
    common = {"formats": "w8a8e8", "threads": 1}
    points = [
        common | {"sweep": sweep, "size": size, "macs_per_image": size**2, "fastest_microseconds_per_image": size**2}
        for sweep in ("batch", "width")
        for size in (1, 2, 4)
    ]
    assert [(entry["sweep"], entry["exponent"]) for entry in growths(points)] == [("batch", 2.0), ("width", 1.0)]


def test_everybody_starts_a_round_once() -> None:
    """Turns rotate."""
    order = [[contender.name for contender in turns(PEERS, number)] for number in range(len(PEERS))]
    assert sorted(names[0] for names in order) == sorted(contender.name for contender in PEERS)
    assert all(sorted(names) == sorted(order[0]) for names in order)
    assert turns((), 3) == ()


def test_formats_by_name() -> None:
    """The name says the bits; another name is an error."""
    assert Contender("fxptrain", "w8a16e12").bits == (8, 16, 12)
    with pytest.raises(ValueError, match=r"values to unpack|invalid literal"):
        _ = Contender("fxptrain", "8bit").bits


def test_recipes_that_peers_cannot_learn(tmp_path) -> None:
    """They are refused before anything is measured."""
    values = tmp_path / "values.toml"
    values.write_text(small_recipe(model__target="values", model__loss="squared-error").to_toml(), encoding="utf-8")
    for options, says in (
        (["--model", str(values)], "learns 'values'; only recipes that learn classes or their inputs are compared"),
        (["--training", "--model", "autoencoder"], "learns 'input'; only recipes that learn classes are compared"),
        (["--model", "ds_nn"], "ds_nn"),
    ):
        result = CliRunner().invoke(__main__.main, options)
        assert result.exit_code == 2
        assert says in result.output


def test_a_plan_is_all_combinations() -> None:
    """Cases of a number of threads, and the libraries that are needed."""
    plan = Plan(("a", "b"), ("training",), (1, 64), (1, 2), OWN + PEERS[:1], 3, 0.1)
    assert list(plan.cases(2)) == [Case(model, "training", batch, 2) for model in "ab" for batch in (1, 64)]
    assert plan.libraries() == ("fxptrain", "torch")
    assert Case(**CASE.message()) == CASE


def test_tables_show_a_line_a_case() -> None:
    """One line for each case and formats, peers in columns, empty where there is none."""
    lines = table.bench_table(example_rows()).splitlines()
    assert len(lines) == 1 + 3
    assert " ".join(lines[1].split()) == "gupta_cnn training 1 64 w8a8e8 3,200 6,400 0.0 3% 2.50 1.00"
    assert lines[3].split()[-1] == "0%"
    assert "1,280" in table.peer_table(example_rows()).splitlines()[1]


def test_plot_series() -> None:
    """Own formats and peers against the batch size, of one panel only."""
    series = plot.series_of(example_rows(), "gupta_cnn", "training", 1)
    assert series["fxptrain w8a8e8"] == [(64, 3200.0)]
    assert list(series) == ["fxptrain w8a8e8", "fxptrain w16a16e16", "torch-fp32", "torch-bf16"]


def test_results_are_saved_line_by_line(tmp_path) -> None:
    """What is written reads back, with a row on each line."""
    report = {"date": "2025-01-01", "machine": {"cpu": "x"}, "missing": [], "rows": example_rows()}
    path = results.save(report, tmp_path / "new", "name")
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == report
    assert sum('"formats"' in line for line in text.splitlines()) == len(report["rows"])


def test_measure_runs_at_least_twice() -> None:
    """A turn of no length still has the runs a median needs; every run is timed."""
    calls: list[None] = []
    found = contract.measure(lambda: calls.append(None), 0.0)
    assert len(found) == len(calls) == contract.MIN_RUNS
    assert all(seconds >= 0 for seconds in found)


def test_worker_answers_line_by_line(monkeypatch) -> None:
    """Results and failures come back in order; what was prepared once is kept."""

    class Library:
        prepared = 0

        def versions(self) -> dict[str, object]:
            return {"library": "1"}

        def prepare(self, contender: str, case: Case) -> contract.Run:
            assert (contender, case) == ("some", CASE)
            self.prepared += 1
            return lambda: None

    library = Library()
    monkeypatch.setattr(worker, "load_library", lambda name, threads: library)
    measure = {"do": "measure", "contender": "some", "case": CASE.message(), "seconds": 0.0, "cpu_time": False}
    requests = [{"do": "versions"}, measure, {"do": "losses", "contender": "x", "model": "y", "steps": 1}, measure]
    answers = io.StringIO()
    worker.serve(io.StringIO("".join(json.dumps(r) + "\n" for r in requests)), answers, worker.Worker("any", 1))
    first, second, third, fourth = map(json.loads, answers.getvalue().splitlines())
    assert first == {"result": {"library": "1"}}
    assert len(second["result"]) >= contract.MIN_RUNS
    assert "AttributeError" in third["error"]
    assert "result" in fourth
    assert library.prepared == 1


def test_environment_of_the_processes(monkeypatch) -> None:
    """The engine gets its threads only; a peer gets the faster allocator, or a malloc that keeps its memory."""
    monkeypatch.setattr(native, "intel_openmp", lambda: None)
    monkeypatch.setattr(native, "tcmalloc", lambda: None)
    assert set(native.environment("fxptrain", 2).values()) == {"2"}
    assert native.environment("torch", 1)["MALLOC_MMAP_MAX_"] == "0"
    monkeypatch.setattr(native, "tcmalloc", lambda: "/lib/fast.so")
    monkeypatch.setattr(native, "intel_openmp", lambda: "/lib/omp.so")
    assert native.environment("torch", 1)["LD_PRELOAD"] == "/lib/fast.so:/lib/omp.so"
    assert native.environment("numpy", 1)["LD_PRELOAD"] == "/lib/fast.so"


def test_the_machine_has_a_name() -> None:
    """Cores are at least one, and the slug fits a file name."""
    found = machine.describe()
    assert found["cores"] >= 1
    assert machine.slug(found).replace("-", "").isalnum()


SMALL = s.ModelSpec(
    name="small",
    input_shape=(6, 6, 2),
    layers=(
        s.Conv2d(channels=3, kernel=(3, 3)), s.MaxPool2d(size=(2, 2)), s.ReLU(), s.Conv2d(channels=4, kernel=(2, 1)),
        s.Flatten(), s.Linear(features=5), s.ReLU(), s.Linear(features=3, bias=False),
    ),
)  # fmt: skip


def test_im2col_and_back() -> None:
    """Patches in row-major order; `col2im` is the transpose of `im2col`."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 9, (2, 4, 5, 3)).astype(np.float32)
    columns = im2col(x, 2, 3)
    assert np.array_equal(columns[1], x[0, 0:2, 1:4].reshape(-1))
    y = rng.integers(0, 9, columns.shape).astype(np.float32)
    assert (columns * y).sum() == (x * col2im(y, x.shape, 2, 3)).sum()


@pytest.mark.parametrize("loss", [cross_entropy, squared_error])
def test_numpy_gradients_are_those_of_the_loss(loss) -> None:
    """Central differences of the loss in double precision, for every parameter array."""
    rng = np.random.default_rng(0)
    network = NumpyNetwork(build_layers(SMALL))
    network.parameters = [[array.astype(np.float64) for array in arrays] for arrays in network.parameters]
    x, labels = rng.normal(size=(4, *SMALL.input_shape)), np.array([0, 1, 2, 1])
    if loss is squared_error:
        labels = rng.normal(size=(4, 3))
    logits, kept = network.forward(x)
    gradients = network.backward(loss(logits, labels)[1], kept)
    for arrays, found in zip(network.parameters, gradients, strict=True):
        assert len(arrays) == len(found)
        for array, gradient in zip(arrays, found, strict=True):
            for index in rng.integers(0, array.size, 3):
                at = np.unravel_index(index, array.shape)
                kept_value, losses = array[at], []
                for shift in (1e-5, -1e-5):
                    array[at] = kept_value + shift
                    losses.append(loss(network.forward(x)[0], labels)[0])
                array[at] = kept_value
                assert gradient[at] == pytest.approx((losses[0] - losses[1]) / 2e-5, abs=1e-7)


def test_numpy_learns() -> None:
    """SGD with momentum lowers the loss."""
    pixels, labels = make_samples(SMALL.input_shape, 3, 64, drawn=0)
    task = FloatTask(build_layers(SMALL), (pixels / np.float32(128) - 1), labels.astype(np.int64), 0.1, 0.9, 5e-4)
    network = NumpyNetwork(task.layers)
    losses = [network.train_step(task.inputs, task.labels, task) for _ in range(30)]
    assert losses[-1] < 0.7 * losses[0]


def test_a_model_of_its_inputs() -> None:
    """Peers get the inputs as targets, in one row, whatever shape they have; our integers are the oracle's."""
    task = load_task("autoencoder")
    assert np.array_equal(task.labels, task.inputs.reshape(len(task.inputs), -1))
    network = NumpyNetwork(task.layers)
    losses = [network.train_step(task.inputs[:64], task.labels[:64], task) for _ in range(8)]
    assert losses[-1] < losses[0]
    check_against_oracle("autoencoder", "w8a8e8", 1)


def test_layers_that_peers_do_not_have() -> None:
    """The error names the layer."""
    layer = s.Conv2d(channels=1, kernel=(3, 3), padding=(1, 1))
    model = s.ModelSpec(name="padded", input_shape=(4, 4, 1), layers=(layer,))
    with pytest.raises(ValueError, match=r"Conv2d.*padding"):
        build_layers(model)


@pytest.mark.parametrize("module", [cases, figures, machine])
def test_examples_in_the_docstrings(module) -> None:
    """The examples run, outside the package too."""
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


def test_figures_of_no_times() -> None:
    """Nothing measured, no rows."""
    assert rows(figures.make_times_table(), {}, {}) == []
