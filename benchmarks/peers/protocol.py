"""How a contender works: it makes as many steps as a line on stdin says, and answers how much that was."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable


def answer(step: Callable[[], float]) -> None:
    """Makes steps for every line until stdin ends; `step` returns its amount of work: predictions, or operations."""
    for line in sys.stdin:
        began = time.perf_counter()
        amount = sum(step() for _ in range(int(line)))
        print(json.dumps({"amount": amount, "seconds": time.perf_counter() - began}), flush=True)
