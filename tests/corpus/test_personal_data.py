"""Counts of likely personal data."""

from __future__ import annotations

import pytest

from textgen.corpus import personal_data
from textgen.corpus.personal_data import count_personal_data

FOUND = {
    "e-mail addresses": ["ann.b+c@mail.example.org", "X_1@a-b.co"],
    "phone numbers": ["call 555-123-4567", "(555) 123-4567", "+1 555 123 4567", "+4915112345678"],
    "@handles": ["@ann", "hi (@bob_9)!", "no.@carl"[3:]],
    "URLs": ["see https://a.example/x?y=1", "HTTP://B.example", "www.c.example"],
}
NOT_FOUND = ["1984-1985, 12:30", "version 1.2.3-4", "a @ b", "3@4", "wwwhat", "10,000,000", "2017-04-05 14:56:29"]


@pytest.mark.parametrize("name", FOUND)
def test_each_kind_matches_only_its_own_pattern(name: str) -> None:
    for text in FOUND[name]:
        assert count_personal_data([text]) == {kind: int(kind == name) for kind in FOUND}, text


def test_other_numbers_and_symbols_do_not_match() -> None:
    for text in NOT_FOUND:
        assert not any(count_personal_data([text]).values()), text


def test_every_match_in_all_texts_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(personal_data, "BATCH_TEXTS", 2)
    texts = ["@ann @bob", "", "@carl and a@b.org", "nobody", "@dora"]
    assert count_personal_data(texts) == {"e-mail addresses": 1, "phone numbers": 0, "@handles": 4, "URLs": 0}


def test_no_texts_give_zero_counts() -> None:
    assert set(count_personal_data([]).values()) == {0}
