"""Compares what was asked and answered with what Postgres holds, and every figure with its rows. Pure.

`stored.read` fetches what is compared here; nothing in it comes from the product but its tables.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from shared.ids import click_id_text, click_id_time
from tests.faults.chain.facts import NOTHING, Rollup, Stored, StoredClick, Sums
from tests.faults.chain.oracle import Asked, Books, asked_click, payout

_BUCKET: Final = timedelta(minutes=15)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EXAMPLES: Final = 5


@dataclass
class Verdict:
    """What was found wrong, by name, each with a few examples; right when nothing was."""

    answered: int
    stored: int
    wrong: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def blame(self, name: str, example: object, count: int = 1) -> None:
        self.wrong[name] += count
        if len(self.examples[name]) < _EXAMPLES:
            self.examples[name].append(str(example))


def judge(books: Books, stored: Stored, seed: int) -> Verdict:
    """Everything must be drained before: journals read to their ends, no delta left."""
    verdict = Verdict(len(books.answered), len(stored.clicks))
    _clicks(verdict, books, stored, seed)
    _labels(verdict, stored)
    _conversions(verdict, books, stored)
    _rollups(verdict, stored)
    for letter, times in Counter(stored.dead_letters).items():
        if times > 1 or letter not in books.poison:
            verdict.blame("dead letters that were no poison", letter)
    for letter in books.poison.difference(stored.dead_letters):
        verdict.blame("poison without its dead letter", letter)
    if stored.lost:
        verdict.blame("declared lost", f"{stored.lost} records", stored.lost)
    if stored.not_folded:
        verdict.blame("not folded", f"{stored.not_folded} deltas", stored.not_folded)
    return verdict


def _clicks(verdict: Verdict, books: Books, stored: Stored, seed: int) -> None:
    """Missing, duplicated, spurious, corrupted."""
    seen: Counter[int] = Counter()
    ids: set[bytes] = set()
    for click in stored.clicks:
        number = int(click.sub1) if click.sub1.isdecimal() else -1
        if number not in books.asked:
            verdict.blame("spurious", click)
            continue
        seen[number] += 1
        if click.click_id in ids or seen[number] > 1:
            verdict.blame("duplicated", click)
        ids.add(click.click_id)
        if differing := _differences(click, asked_click(seed, number), stored.campaigns):
            verdict.blame("corrupted", f"{differing} of {click}")
    for number, click_id in books.answered.items():
        if click_id not in ids:
            verdict.blame("missing", f"click {number}: {click_id_text(click_id)}")
    if repeated := len(books.answered) - len(set(books.answered.values())):
        verdict.blame("click ids given to two visitors", repeated, repeated)


def _differences(click: StoredClick, asked: Asked, campaigns: Sequence[int]) -> list[str]:
    """Names of the fields that are not what was asked, or not what the click id says."""
    said = {
        "campaign_id": campaigns[asked.campaign],
        "sub2": asked.sub2,
        "external_id": asked.external_id,
        "agent": asked.agent,
        "language": asked.language,
        "ip": asked.stored_address,
        "ts": _EPOCH + timedelta(milliseconds=click_id_time(click.click_id)),
        "location": destination(click_id_text(click.click_id)),
    }
    return [name for name, value in said.items() if getattr(click, name) != value]


def destination(click_id: str) -> str:
    """Where every campaign of a run sends its visitors; `{clickid}` for the campaign itself."""
    return f"https://shop.example/landing?clickid={click_id}"


def _labels(verdict: Verdict, stored: Stored) -> None:
    """Each click that counts has one label."""
    labelled = Counter(label.click_id for label in stored.labels)
    wanted = Counter(click.click_id for click in stored.clicks if click.mode == 1)
    for click_id in labelled.keys() | wanted.keys():
        if labelled[click_id] != min(wanted[click_id], 1):
            verdict.blame("labels without a click, or the other way", click_id_text(click_id))


def _conversions(verdict: Verdict, books: Books, stored: Stored) -> None:
    """Each transaction converts once, at its payout, for its click; each of its calls is stored once."""
    by_name = {f"t{number}": (number, transaction) for number, transaction in books.transactions.items()}
    found = Counter(conversion.transaction for conversion in stored.conversions)
    for conversion in stored.conversions:
        number, transaction = by_name.get(conversion.transaction, (0, None))
        if transaction is None:
            verdict.blame("conversions nobody posted", conversion)
        elif (conversion.click_id, conversion.payout, conversion.status) != (
            transaction.click_id,
            payout(number),
            "approved",
        ):
            verdict.blame("conversions corrupted", conversion)
    for name, (_, transaction) in by_name.items():
        calls = stored.postbacks[name]
        if found[name] > 1:
            verdict.blame("conversions duplicated", name)
        if not found[name] and transaction.answered:
            verdict.blame("conversions missing", name)
        if not transaction.answered <= calls <= transaction.asked:
            verdict.blame("postbacks not stored once a call", f"{name}: {calls} of {transaction}")
    for name in stored.postbacks.keys() - by_name.keys():
        verdict.blame("postbacks nobody sent", name)


def _rollups(verdict: Verdict, stored: Stored) -> None:
    """Every row of r15 is the sum of its facts, and every fact is in one."""
    uniques = {label.click_id for label in stored.labels if label.is_unique}
    rows: dict[Rollup, Sums] = {}

    def add(row: Rollup, sums: Iterable[int | Decimal]) -> None:
        rows[row] = tuple(total + more for total, more in zip(rows.get(row, NOTHING), sums, strict=True))

    for click in stored.clicks:
        if click.mode == 1:
            row = Rollup(click.campaign_id, quarter(click.ts), 0, click.bucket)
            add(row, (1, click.click_id in uniques, click.cost, 0, 0))
    for conversion in stored.conversions:
        clicked_at = _EPOCH + timedelta(milliseconds=click_id_time(conversion.click_id))
        for basis, moment in ((0, conversion.converted_at), (1, clicked_at)):
            row = Rollup(conversion.campaign_id, quarter(moment), basis, conversion.bucket)
            add(row, (0, 0, 0, 1, conversion.payout))
    for row in rows.keys() | stored.rollups.keys():
        wanted, is_there = rows.get(row, NOTHING), stored.rollups.get(row, NOTHING)
        if wanted != is_there:
            verdict.blame("roll-ups that differ from their rows", f"{row}: {is_there} instead of {wanted}")
    for difference in stored.account_differences:
        verdict.blame("sums of an account that differ from its roll-ups", difference)


def quarter(moment: datetime) -> datetime:
    """The quarter hour that a moment is counted in."""
    return _EPOCH + (moment - _EPOCH) // _BUCKET * _BUCKET
