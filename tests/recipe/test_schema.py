"""Recipes: the shipped ones, the way through TOML and back, and every kind of mistake."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fxptrain.nn.spec as layers
from fxptrain.errors import RecipeError
from fxptrain.nn.spec import ModelSpec
from fxptrain.recipe import Recipe, load_recipe, make_recipe, parse_recipe, recipe_directory, recipe_names
from tests.house.sources import ROOT

SMALL = {
    "model": {
        "name": "small",
        "input_shape": [4, 4, 1],
        "layers": [{"type": "flatten"}, {"type": "linear", "features": 2}],
    }
}


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes(name: str) -> None:
    """Every shipped recipe is valid, named like its file, and equal to itself after TOML."""
    recipe = load_recipe(name)
    assert recipe.name == name
    assert parse_recipe(recipe.to_toml()) == recipe


def test_a_recipe_is_shown_in_short() -> None:
    """A line, not all of its options."""
    assert repr(load_recipe("glyphs")) == "Recipe('glyphs', 10 layers, sqpu, 8 bits, 10 epochs)"


def test_shipped_recipes_are_in_the_wheel() -> None:
    """The build takes every recipe of the checkout into the package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included == {f"models/{name}.toml": f"fxptrain/_recipes/{name}.toml" for name in recipe_names()}
    assert recipe_directory() == ROOT / "models"


def test_gupta_cnn_is_table_1_of_the_paper() -> None:
    """Two convolutions without bias, two linear layers with: 184,490 parameters."""
    spec = load_recipe("gupta_cnn").model
    kinds = " ".join(layer.type for layer in spec.layers)
    assert kinds == "conv2d maxpool2d relu conv2d maxpool2d relu flatten linear relu linear"
    first, second = (layer for layer in spec.layers if isinstance(layer, layers.Conv2d))
    dense = [layer.features for layer in spec.layers if isinstance(layer, layers.Linear)]
    assert not first.bias
    assert not second.bias
    positions = ((28 - 4) // 2 - 4) // 2
    inputs = positions * positions * second.channels
    convolutions = 25 * first.channels + 25 * first.channels * second.channels
    assert convolutions + (inputs + 1) * dense[0] + (dense[0] + 1) * dense[1] == 184_490


@given(
    text=st.text(st.characters(codec="utf-8")),
    rate=st.floats(1e-9, 1e3),
    micro=st.none() | st.integers(1, 64),
    flag=st.booleans(),
)
def test_toml_and_back(text: str, rate: float, micro: int | None, flag: bool) -> None:
    """Any text, real number, missing value and switch survives the way through TOML."""
    recipe = make_recipe(SMALL).changed(
        {
            "description": text,
            "schedule.lr": rate,
            "training.micro_batch": micro,
            "optimizer.saturation_mask": flag,
            "early_stopping": {"patience": 3},
            "data.validation": 1,
        }
    )
    assert parse_recipe(recipe.to_toml()) == recipe
    assert (recipe.description, recipe.schedule.lr, recipe.training.micro_batch) == (text, rate, micro)


def test_a_recipe_from_values() -> None:
    """Specs written in Python make the same recipe as tables."""
    spec = ModelSpec(name="small", input_shape=(4, 4, 1), layers=(layers.Flatten(), layers.Linear(features=2)))
    assert Recipe(model=spec) == make_recipe(SMALL)
    assert Recipe(model=spec).model == spec


def test_own_file(tmp_path: Path) -> None:
    """A path that ends in .toml is read from there."""
    path = tmp_path / "mine.toml"
    path.write_text(make_recipe(SMALL).to_toml(), encoding="utf-8")
    assert load_recipe(path) == load_recipe(str(path)) == make_recipe(SMALL)


def test_a_key_is_left_out() -> None:
    """None removes a key; one that is not there need not be, but must be a key."""
    recipe = make_recipe(SMALL).changed({"optimizer.momentum": 0.5, "data.groups": "who"})
    assert recipe.changed({"optimizer.momentum": None, "data.groups": None}) == make_recipe(SMALL)
    assert recipe.changed({"data.label": None, "augmentation.crop": None, "start.run": None}) == recipe
    with pytest.raises(RecipeError, match=r"`data.group` is no key of \[data\]; did you mean 'groups'"):
        recipe.changed({"data.group": None})
    with pytest.raises(RecipeError, match="`nosuch` is no key of a recipe"):
        recipe.changed({"nosuch.data": None})


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("formats.parm_bits", 8, r"`formats.parm_bits` is no key of \[formats\]; did you mean 'param_bits'\?"),
        ("trainin.epochs", 1, r"`trainin` is no key of a recipe; did you mean 'training'\?"),
        ("zzz", 1, r"`zzz` is no key of a recipe; there are description, data, model, "),
        ("early_stopping.patienc", 1, r"`early_stopping.patienc` is no key of .*; did you mean 'patience'\?"),
        ("model.layer", [], r"`model.layer` is no key of \[model\]; did you mean 'layers'\?"),
        ("model.layers", [{"type": "conv"}], r"`model.layers\[0\].type` \(='conv'\) .*; did you mean 'conv2d'\?"),
        ("model.layers", [{"channels": 3}], r"`model.layers\[0\]` has no `type`; there are add, avgpool1d, "),
        ("model.layers", [{"type": "linear"}], r"`model.layers\[0\].features` is missing"),
        ("model.layers", [3], r"`model.layers\[0\]` \(=3\)"),
        (
            "model.layers",
            [{"type": "conv2d", "channels": 1, "kernal": [1, 1]}],
            r"`model.layers\[0\].kernal` is no key of \[model.layers\[0\]\]; did you mean 'kernel'\? "
            r"`model.layers\[0\].kernel` is missing",
        ),
        ("model.input_shape", [0, 4, 1], r"`model.input_shape\[0\]` \(=0\): .*greater than or equal to 1"),
        ("training.epochs", 0, r"`training.epochs` \(=0\): .*greater than or equal to 1"),
        ("training.seed", 1 << 32, r"`training.seed` \(=4294967296\)"),
        ("training.micro_batch", 65, r"`training.micro_batch` \(=65\) must not exceed `training.batch_size` \(=64\)"),
        ("optimizer.method", "sgd", r"`optimizer.method` \(='sgd'\): .*'sqpu', 'hteqpu' or 'ste'"),
        ("optimizer.momentum", float("inf"), "`optimizer.momentum` .*finite"),
        ("optimizer", {"error_feedback": True, "method": "ste"}, r"`optimizer.method` is 'ste'\. .* out\.$"),
        ("optimizer", {"error_feedback": True, "momentum": 0.0}, r"`optimizer.momentum` is 0.0\. Change it"),
        ("optimizer", {"error_feedback": True, "momentum": 1e-30}, r"needs a momentum of 2\*\*-15 to 1 - 2\*\*-15 in"),
        ("optimizer", {"error_feedback": True, "momentum": 1 - 2.0**-17}, r"`optimizer.momentum` is 0.99999237"),
        ("optimizer.momentum", 1.0, r"`optimizer.momentum` \(=1.0\) must be 0, or 2\*\*-100 to less than 1"),
        ("optimizer.momentum", -0.5, r"`optimizer.momentum` \(=-0.5\) must be 0, or"),
        (
            "optimizer.weight_decay",
            -1e-4,
            r"`optimizer.weight_decay` \(=-0.0001\) must be 0, or 2\*\*-100 to less than",
        ),
        ("optimizer.weight_decay", 1e-300, r"`optimizer.weight_decay` \(=1e-300\) must be 0, or"),
        ("schedule.lr", float("nan"), "`schedule.lr` .*finite"),
        ("schedule.type", "plateau", r"`schedule.type` \(='plateau'\) watches the validation split"),
        ("early_stopping", {}, "`early_stopping` watches the validation split"),
        ("formats.mode", "fixed", "needs `formats.param_frac` and `formats.activation_frac`"),
        ("data.std", [1, -2.5], r"`data.std\[1\]` \(=-2.5\): input should be greater than 0\. *$"),
        ("data.std", "x", r"`data.std` \(='x'\): input should be a valid number, unable to parse .*number\.$"),
        (
            "optimizer.momentum_units",
            "weight",
            r"`optimizer.momentum_units` \(='weight'\) needs `formats.momentum_frac`",
        ),
        ("data.mean", 0.5, "`data.mean` and `data.std` go together"),
        ("training.epochs", True, r"`training.epochs` \(=True\): must be a number"),
        ("training.epochs", "3", r"`training.epochs` \(='3'\): must be a number, without quotes"),
        ("schedule.lr", False, r"`schedule.lr` \(=False\): "),
        ("schedule.lr", True, r"`schedule.lr` \(=True\): must be a number"),
        ("model.input_shape", [8, 8, True], r"`model.input_shape\[2\]` \(=True\): must be a number"),
        ("augmentation.noise", 1e300, r"`augmentation.noise` \(=1e\+300\): input should be less than or equal to 100"),
        ("data.header", 1, r"`data.header` \(=1\): must be true or false"),
        ("data.header", "no", r"`data.header` \(='no'\): must be true or false"),
        ("optimizer.saturation_mask", 0, r"`optimizer.saturation_mask` \(=0\): must be true or false"),
        ("description", ["x" * 100], r"`description` \(=\['x+ \.\.\. x+'\]\): "),
    ],
)
def test_mistakes(key: str, value: object, message: str) -> None:
    """Each mistake is one line that names the key, the value and the rule or the nearest valid name."""
    with pytest.raises(RecipeError, match=message) as caught:
        make_recipe(SMALL).changed({key: value})
    assert "\n" not in str(caught.value)


def test_no_toml() -> None:
    """Text that is no TOML says so, with the line."""
    with pytest.raises(RecipeError, match=r"mine.toml is no TOML: .*line 2"):
        parse_recipe("a = 1\nb =\n", "mine.toml")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gupta", "no recipe 'gupta'; did you mean 'gupta_cnn'?"),
        ("xyzxyz", "there are autoencoder, cifar_vgg"),
        ("none/such.toml", r"cannot be read \(No such file"),
    ],
)
def test_no_such_recipe(name: str, message: str) -> None:
    """A recipe that does not exist leads to the nearest that does."""
    with pytest.raises(RecipeError, match=message):
        load_recipe(name)


def test_unreadable_recipe(tmp_path: Path) -> None:
    """A file that is no text is refused."""
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="cannot be read: no UTF-8 text"):
        load_recipe(path)


def test_all_mistakes_at_once() -> None:
    """Every mistake of a recipe is told, in one line."""
    table = {"model": SMALL["model"], "training": {"epochs": 0, "batch_size": 0, "epoch": 3}, "formats": {"bits": 8}}
    with pytest.raises(RecipeError) as caught:
        make_recipe(table)
    told = str(caught.value)
    assert "\n" not in told
    for part in (
        "`training.epochs` (=0)",
        "`training.batch_size` (=0)",
        "`training.epoch` is no key",
        "`formats.bits`",
    ):
        assert part in told
    assert "more)" not in told
    together = {"schedule": {"type": "plateau"}, "early_stopping": {}, "data": {"std": 1.0}}
    with pytest.raises(RecipeError, match=r"go together.*`schedule.type` .*`early_stopping` watches"):
        make_recipe({"model": SMALL["model"]} | together)


def test_one_number_for_a_pair() -> None:
    """`kernel = 3` is `kernel = [3, 3]`; so are sizes, strides and paddings."""
    one = [{"type": "conv2d", "channels": 2, "kernel": 3, "padding": 1, "stride": 1}, {"type": "maxpool2d", "size": 2}]
    two = [
        {"type": "conv2d", "channels": 2, "kernel": [3, 3], "padding": [1, 1], "stride": [1, 1]},
        {"type": "maxpool2d", "size": [2, 2]},
    ]
    recipes = [make_recipe({"model": SMALL["model"] | {"layers": layers}}) for layers in (one, two)]
    assert recipes[0] == recipes[1]
    with pytest.raises(RecipeError, match=r"`model.layers\[0\].kernel` \(=1.5\)"):
        make_recipe({"model": SMALL["model"] | {"layers": [{"type": "conv2d", "channels": 2, "kernel": 1.5}]}})
