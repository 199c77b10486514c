"""Covers edge.recent: what is remembered, and that it stays bounded."""

import pytest

from edge.recent import Known


def counted(capacity: int, longest: int = 100) -> tuple[Known[str, str], list[str]]:
    """A memory of upper cases, and every key that was worked out."""
    made: list[str] = []

    def make(key: str) -> str:
        made.append(key)
        return key.upper()

    return Known(capacity, make, longest), made


def test_what_is_known_is_worked_out_once() -> None:
    known, made = counted(10)
    assert [known[key] for key in ("a", "b", "a", "a", "b")] == ["A", "B", "A", "A", "B"]
    assert made == ["a", "b"]


def test_an_answer_that_is_false_is_remembered_too() -> None:
    known, made = counted(10)
    assert (known[""], known[""]) == ("", "")
    assert made == [""]


def test_a_flood_never_exceeds_the_capacity_of_what_is_known() -> None:
    known, _ = counted(10)
    for number in range(1000):
        assert known[f"k{number}"] == f"K{number}"
        assert known.count() <= 10


def test_a_key_that_keeps_coming_is_worked_out_once_in_a_flood() -> None:
    known, made = counted(10)
    for number in range(1000):
        assert known["regular"] == "REGULAR"
        assert known[f"k{number}"]
    assert made.count("regular") == 1


def test_long_keys_are_worked_out_every_time() -> None:
    known, made = counted(10, longest=3)
    assert [known[key] for key in ("abc", "abcd", "abcd", "abc")] == ["ABC", "ABCD", "ABCD", "ABC"]
    assert made == ["abc", "abcd", "abcd"]
    assert known.count() == 1


def test_a_memory_of_fewer_than_two_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity"):
        Known(1, str.upper)
