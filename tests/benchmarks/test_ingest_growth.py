"""Opens and bytes read grow linearly with the corpus: counted in scaled-down ingests, and in plans of large ones."""

from __future__ import annotations

import pytest

from benchmarks.ingest_growth import GIB, measured, planned

ORDERS = ["hash", "file"]


@pytest.mark.parametrize("document_order", ORDERS)
def test_an_ingest_four_times_as_large_opens_about_four_times_as_much(document_order: str) -> None:
    small, large = (measured(size * GIB, scale=2048, document_order=document_order) for size in (1, 4))
    assert small.opens > 300  # So that the pieces are many; with ranges that open every chunk, 16 times as many follow.
    assert large.opens < 5 * small.opens
    assert max(small.bytes_per_pass, large.bytes_per_pass) < 1.3


@pytest.mark.parametrize("document_order", ORDERS)
def test_plans_read_each_byte_once_in_a_bounded_number_of_requests_per_gibibyte(document_order: str) -> None:
    plans = {size: planned(size * GIB, document_order=document_order) for size in (1, 16, 100, 256)}
    for size, plan in plans.items():
        assert plan.opens < 1000 * size
        assert 1 <= plan.bytes_per_pass < 1.3
