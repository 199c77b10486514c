"""What a rehearsal shows at its end: figures as the API gave them, and what was sent beside them."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from management.rehearsal.driver import Tally
from management.rehearsal.figures import COLUMNS, HEADINGS, Difference, Figures, Value

_MOST_REASONS = 6
_UNBOUNDED = 1_000
_NARROWEST = 12


def print_figures(console: Console, title: str, rows: Sequence[tuple[str, Figures]], total: Figures | None) -> None:
    """One row a campaign and, where there is one, the total of the account; on a console too narrow for that a column
    each, because a figure that is cut is a wrong one."""
    table = _a_row_each(title, rows, total)
    wanted = console.measure(table, options=console.options.update(max_width=_UNBOUNDED)).maximum
    console.print(table if wanted <= console.width else _a_column_each(title, rows, total))


def say(console: Console, sentence: str, style: str = "") -> None:
    """Print `sentence` as it is, in one line."""
    console.print(sentence, style=style, highlight=False, markup=False, soft_wrap=True)


def _a_row_each(title: str, rows: Sequence[tuple[str, Figures]], total: Figures | None) -> Table:
    table = Table(title=title, title_justify="left", show_footer=total is not None)
    table.add_column("campaign", footer="total", no_wrap=True)
    footers = {} if total is None else dict(total.columns())
    for name in COLUMNS:
        table.add_column(HEADINGS[name], footer=written(footers.get(name)), justify="right", no_wrap=True)
    for label, figures in rows:
        table.add_row(escape(label), *(written(value) for _, value in figures.columns()))
    return table


def _a_column_each(title: str, rows: Sequence[tuple[str, Figures]], total: Figures | None) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    columns = [*rows, *([("total", total)] if total is not None else [])]
    for label, _ in columns:
        table.add_column(escape(label), justify="right", overflow="fold", min_width=_NARROWEST)
    for name in COLUMNS:
        table.add_row(HEADINGS[name], *(written(getattr(figures, name)) for _, figures in columns))
    return table


def differences_table(differences: Sequence[Difference]) -> Table:
    table = Table(title="Not what was sent", title_justify="left")
    for heading in ("campaign", "figure", "sent", "API"):
        table.add_column(heading)
    for difference in differences:
        table.add_row(
            escape(difference.row), HEADINGS[difference.column], written(difference.expected), written(difference.found)
        )
    return table


def written(value: Value) -> str:
    """A figure as it is read: thousands apart, a dash where it has no denominator."""
    return "–" if value is None else f"{value:,}"


def sent_table(what: str, tally: Tally, skipped: Mapping[str, int]) -> Table:
    """What was driven and what it was answered."""
    table = Table(title=what, title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("sent", f"{tally.sent:,}")
    for status, count in sorted(tally.answered.items()):
        table.add_row(f"answered {status}", f"{count:,}")
    for happened, count in tally.unanswered.most_common():
        table.add_row(f"unanswered, {happened}", f"{count:,}")
    if tally.ended is not None:
        table.add_row("answers a second", f"{tally.per_second:,.0f}")
    for reason, count in most_common(skipped):
        table.add_row(escape(f"line skipped, {reason}"), f"{count:,}")
    return table


def most_common(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """The most frequent reasons, what is beyond them in one row."""
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    shown, rest = ordered[:_MOST_REASONS], ordered[_MOST_REASONS:]
    return [*shown, ("other reasons", sum(count for _, count in rest))] if rest else shown


def plural(count: int, word: str, words: str = "") -> str:
    """`1 click`, `2 clicks`; `words` is the plural that takes more than an s."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {words or word + 's'}"


def reasons_text(counts: Mapping[Any, int]) -> str:
    """`3 × connection refused, 1 × connection reset`."""
    return ", ".join(f"{count:,} × {reason}" for reason, count in most_common(counts))
