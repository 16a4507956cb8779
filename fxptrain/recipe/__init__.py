"""What is asked for: recipes as files and as values."""

from fxptrain.recipe.schema import (
    Recipe,
    load_recipe,
    make_recipe,
    make_written,
    parse_recipe,
    parse_written,
    recipe_directory,
    recipe_names,
    toml_text,
)

__all__ = [
    "Recipe", "load_recipe", "make_recipe", "make_written", "parse_recipe", "parse_written", "recipe_directory",
    "recipe_names", "toml_text",
]  # fmt: skip
