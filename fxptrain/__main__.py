"""``python -m fxptrain``."""

import sys

from fxptrain.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
