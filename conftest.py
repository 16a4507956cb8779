"""What the whole test run leaves out: modules of the package whose extra is not installed."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("sklearn") else ["fxptrain/sklearn.py"]
