"""What is counted, in chunks or at once, and what is dropped to fit a size."""

from __future__ import annotations

import numpy as np
import pytest

from tests.slow_counts import SlowCounts, table_of
from textgen.counts import build, counting
from textgen.counts.contexts import NUM_FOLDS, bucket_of, fingerprint_of, hashed
from textgen.counts.table import BUCKET_SIZE, MAX_CHILDREN, CountTable
from textgen.errors import UserError

V, ORDER = 6, 5
TEXT = np.random.default_rng(0).choice(V, 900, p=[0.4, 0.25, 0.15, 0.1, 0.05, 0.05]).tolist()


def contexts_of(table: CountTable, slow: SlowCounts) -> dict[tuple[int, ...], int]:
    """Returns the contexts that a table has, and their rows."""
    found = {}
    for context in slow.counts:
        if len(context) < 3:
            continue
        packed = np.array([sum(one << 8 * back for back, one in enumerate(context))])  # The nearest id is highest.
        mixed = hashed(packed, len(context))
        entries = table.buckets[bucket_of(mixed, num_buckets=len(table.buckets))[0]]
        fingerprint = fingerprint_of(mixed).astype(np.uint32).view(np.int32)[0]
        for place in range(BUCKET_SIZE):
            if entries[BUCKET_SIZE + place] and entries[place] == fingerprint:
                found[context] = int(entries[BUCKET_SIZE + place])
    return found


def test_rows_and_children_are_what_was_counted_and_folds_add_up() -> None:
    table, slow = table_of(TEXT, order=ORDER, vocab_size=V), SlowCounts(TEXT, order=ORDER, vocab_size=V)
    contexts = contexts_of(table, slow)
    assert len(contexts) == table.num_contexts == len(set(contexts.values()))
    assert table.folds is not None
    fold_rows = table.folds.rows.reshape(NUM_FOLDS, -1)
    fold_children = table.folds.children.reshape(NUM_FOLDS, -1)
    for context, row in contexts.items():
        first, number, occurrences = table.rows[row]
        counts = slow.counts[context]
        assert occurrences == sum(counts.values()) == fold_rows[:, row].sum()
        assert number == min(len(counts), MAX_CHILDREN[len(context)])
        children = [(int(one & 255), int(one >> 8)) for one in table.children[first : first + number]]
        assert children == sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:number]
        for fold in range(NUM_FOLDS):
            assert fold_rows[fold, row] == sum(slow.in_fold[fold, context].values())
            for place, (one, _) in enumerate(children, start=first):
                assert fold_children[fold, place] == slow.in_fold[fold, context][one]


def test_only_contexts_that_occur_once_and_the_rarest_of_a_full_bucket_are_missing() -> None:
    table, slow = table_of(TEXT, order=ORDER, vocab_size=V), SlowCounts(TEXT, order=ORDER, vocab_size=V)
    occurrences = {context: sum(counts.values()) for context, counts in slow.counts.items() if len(context) >= 3}
    wanted = {context for context, number in occurrences.items() if len(context) == 3 or number > 1}
    contexts = contexts_of(table, slow)
    assert contexts.keys() <= wanted
    assert len(contexts) > 0.95 * len(wanted)
    assert all(occurrences[context] < 10 for context in wanted - contexts.keys())


def test_chunks_of_any_size_give_the_same_table(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = table_of(TEXT, order=ORDER, vocab_size=V, start_id=2)
    monkeypatch.setattr(counting, "CHUNK_IDS", 130)
    lines: list[str] = []
    pieces = table_of(TEXT, order=ORDER, vocab_size=V, start_id=2, say=lines.append)
    assert [line for line in lines if "of 900 ids" in line] == [
        f"counted {n} of 900 ids" for n in (*range(130, 900, 130), 900)
    ]
    assert whole.folds is not None
    assert pieces.folds is not None
    for name in ("low_keys", "low_counts", "buckets", "rows", "children"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(pieces, name))
    np.testing.assert_array_equal(whole.folds.children, pieces.folds.children)
    np.testing.assert_array_equal(whole.folds.rows, pieces.folds.rows)


def test_a_bound_drops_the_rarest_contexts_until_the_table_fits() -> None:
    lines: list[str] = []
    free = table_of(TEXT, order=ORDER, vocab_size=V)
    bound = free.num_bytes // 2
    table = table_of(TEXT, order=ORDER, vocab_size=V, max_bytes=bound, say=lines.append)
    assert 0 < table.num_contexts < free.num_contexts
    assert table.num_bytes <= bound + 4 * max(MAX_CHILDREN.values()) + 12
    assert table.rows[1:, 2].min() > free.rows[1:, 2].min()
    assert f"kept {table.num_contexts:,} of" in lines[-1]


def test_low_probabilities_sum_to_one() -> None:
    low = table_of(TEXT, order=4, vocab_size=V).low_probabilities()
    np.testing.assert_allclose(low.sum(axis=-1), 1, atol=1e-5)
    slow = SlowCounts(TEXT, order=2, vocab_size=V)
    np.testing.assert_allclose(low[3 * V + 1], slow.probabilities([1, 3]), rtol=1e-5)


def test_a_text_shorter_than_the_contexts_is_counted() -> None:
    assert table_of([1, 2], order=7, vocab_size=3).num_ids == 2


def test_counts_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "MAX_COUNT", 100)
    with pytest.raises(UserError, match="followed by the same id"):
        table_of([1] * 200, order=4, vocab_size=3)
