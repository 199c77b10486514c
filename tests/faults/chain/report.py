"""What a run has to say at its end."""

from collections import defaultdict
from statistics import median

from rich.console import Console
from rich.table import Table

from tests.faults.chain.judge import Verdict
from tests.faults.chain.nemesis import Survived
from tests.faults.chain.oracle import Books
from tests.faults.chain.proof import Proof
from tests.faults.chain.system import System

_ALLOWED = {0, 503}
_LOSSES = ("missing", "duplicated", "spurious", "corrupted")


def print_report(
    console: Console,
    verdict: Verdict,
    books: Books,
    survived: list[Survived],
    proof: Proof,
    system: System,
    trouble: str,
) -> bool:
    """Whether the run was right and proved something."""
    console.print(_faults(survived))
    answered = sum(transaction.answered for transaction in books.transactions.values())
    console.print(
        f"{verdict.answered} clicks and {answered} postbacks answered, {verdict.stored} clicks stored;"
        f" {books.refused[0]} requests broke, {books.refused.total() - books.refused[0]} were refused"
    )
    console.print(", ".join(f"{verdict.wrong[name]} {name}" for name in _LOSSES))
    console.print(
        f"{len(survived)} faults, {system.kills} kills; {sum(proof.in_flight)} requests in flight at them, at least"
        f" {min(proof.in_flight, default=0)} at each; {proof.repeats} records met twice,"
        f" {'nothing is shipped' if proof.resends is None else f'{proof.resends} sent again'}"
    )
    if verdict.answered:
        console.print(
            f"with 95 % confidence less than {3 / verdict.answered:.1e} of answered clicks are lost or doubled"
        )
    problems = [
        f"{count} {name}: {'; '.join(verdict.examples[name])}" for name, count in verdict.wrong.items() if count
    ]
    if trouble:
        problems.append(trouble)
    if others := {status: count for status, count in books.refused.items() if status not in _ALLOWED}:
        problems.append(f"answers that should not be: {others}")
    problems += [f"vacuous: {lack}" for lack in proof.lacking()]
    for problem in problems:
        console.print(f"WRONG: {problem}", markup=False)
    console.print("answered = stored, exactly once" if not problems else "NOT exactly once")
    return not problems


def _faults(survived: list[Survived]) -> Table:
    by_name = defaultdict(list)
    for one in survived:
        by_name[one.name].append(one)
    table = Table(box=None)
    for column in ("fault", "times", "in flight", "healthy after s", "at most"):
        table.add_column(column, no_wrap=True)
    for name, of_name in sorted(by_name.items()):
        seconds = [one.healthy_after for one in of_name]
        least = min(one.in_flight for one in of_name)
        table.add_row(name, str(len(of_name)), str(least), f"{median(seconds):.1f}", f"{max(seconds):.1f}")
    return table
