"""``python -m fxptrain``."""

import sys

from fxptrain.cli import main

if __name__ == "__main__":
    sys.exit(main())
