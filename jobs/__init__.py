"""One job per file: `python -m jobs.NAME --help`."""

import importlib.util
import sys

if importlib.util.find_spec("ray") is None:
    print(
        f"error: {sys.executable} lacks the packages that textgen needs; install them with `make setup`, then "
        "`source .venv/bin/activate`",
        file=sys.stderr,
    )
    sys.exit(2)
