"""What a layer is: one file a family, and what they share.

Every file here is loaded, so that what it registers is known.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
