"""Covers which questions a command line asks for, that each has its module, and that a group needs its programs only."""

from importlib import import_module
from inspect import signature

import pytest

from benchmarks.__main__ import BEHIND, EDGE, PROGRAMS, QUESTIONS, asked


@pytest.mark.parametrize(
    ("named", "questions"),
    [
        ([], [*EDGE, *BEHIND]),
        (["behind"], [*BEHIND]),
        (["fold", "edge-cpu"], ["fold", "edge-cpu"]),
        (["fold", "behind"], ["fold", *(name for name in BEHIND if name != "fold")]),
        (["nothing"], ["nothing"]),
    ],
    ids=["nothing named", "a group", "questions", "one named twice", "an unknown one"],
)
def test_names_and_groups_become_questions(named: list[str], questions: list[str]) -> None:
    assert asked(named) == questions


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_has_its_module(question: str) -> None:
    measure = import_module(f"benchmarks.{question.replace('-', '_')}").measure
    assert list(signature(measure).parameters) == ["field"]


def test_what_lies_behind_the_edge_needs_no_client_of_it() -> None:
    needed = {question for _, _, questions in PROGRAMS for question in questions}
    assert needed & {"storage", "fold", "growth", "shipper", "broker-faults", "ingesters"} == set()
