"""The product of two matrices in single precision by numpy: an upper bound for arithmetic on this machine."""

from __future__ import annotations

import numpy as np

from benchmarks.peers.protocol import answer

SIZE = 1024


def main() -> None:
    """Multiplies as often as requested; the amount is operations."""
    left, right = np.random.default_rng(0).random((2, SIZE, SIZE), np.float32)
    out = np.empty_like(left)

    def make() -> float:
        np.matmul(left, right, out=out)
        return 2.0 * SIZE**3

    answer(make)


if __name__ == "__main__":
    main()
