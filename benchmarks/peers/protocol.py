"""The protocol of contenders: each line on stdin is a number of steps to run; the answer is their amount and time."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable


def answer(step: Callable[[], float]) -> None:
    """Runs steps for every line until stdin ends; `step` returns its amount of work, such as predictions."""
    for line in sys.stdin:
        began = time.perf_counter()
        amount = sum(step() for _ in range(int(line)))
        print(json.dumps({"amount": amount, "seconds": time.perf_counter() - began}), flush=True)
