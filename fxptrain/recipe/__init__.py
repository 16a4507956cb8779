"""What is asked for: recipes as files and as values."""

from fxptrain.recipe.schema import (
    Recipe,
    load_recipe,
    make_recipe,
    parse_recipe,
    recipe_directory,
    recipe_names,
    toml_text,
)

__all__ = ["Recipe", "load_recipe", "make_recipe", "parse_recipe", "recipe_directory", "recipe_names", "toml_text"]
