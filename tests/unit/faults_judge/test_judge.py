"""Covers the judge of the chain's faults: a right run passes, and each single thing doctored in what Postgres is said
to hold, or in what clients are said to have seen, is found under its own name. Also that a ledger survives its file.

Leaves to others: what is fetched for the judge, and real runs (tests/faults/chain/test_chain.py)."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from shared.ids import ClickIds, KeyRing, click_id_bytes, click_id_text, click_id_time
from tests.faults.chain.facts import Label, Rollup, Stored, StoredClick, StoredConversion
from tests.faults.chain.judge import Verdict, destination, judge, quarter
from tests.faults.chain.oracle import Books, Ledger, Page, asked_click, payout
from tests.faults.chain.proof import Proof

SEED = 7
CAMPAIGNS = (11, 12, 13, 14)
VERDICT = (1, 0, 1)
POISON = (b"p" * 16, 3)
COST = 500_000_000
NOW_MS = 1_795_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
IDS = ClickIds(KeyRing.generate())


@dataclass
class Run:
    books: Books
    stored: Stored

    def judged(self) -> Verdict:
        return judge(self.books, self.stored, SEED)

    def found(self) -> set[str]:
        return {name for name, count in self.judged().wrong.items() if count}


def stored_click(number: int, raw: bytes) -> StoredClick:
    asked = asked_click(SEED, number)
    return StoredClick(
        click_id=raw,
        campaign_id=CAMPAIGNS[asked.campaign],
        ts=EPOCH + timedelta(milliseconds=click_id_time(raw)),
        mode=1,
        bucket=VERDICT,
        cost=COST,
        sub1=asked.sub1,
        sub2=asked.sub2,
        external_id=asked.external_id,
        agent=asked.agent,
        language=asked.language,
        ip=asked.stored_address,
        location=destination(click_id_text(raw)),
    )


def right_run(clicks: int = 30) -> Run:
    """Clicks 0 … 29 answered but for the last, every third one converted, click 0's transaction posted twice."""
    books, stored = Books(), Stored(CAMPAIGNS)
    books.poison.add(POISON)
    stored.dead_letters.append(POISON)

    def add(campaign: int, moment: datetime, basis: int, *amounts: int | Decimal) -> None:
        row = Rollup(campaign, quarter(moment), basis, VERDICT)
        sums = stored.rollups.get(row, (Decimal(0),) * 5)
        stored.rollups[row] = tuple(total + more for total, more in zip(sums, amounts, strict=True))

    for number in range(clicks):
        text = IDS.issue(CAMPAIGNS[asked_click(SEED, number).campaign], NOW_MS + number * 60_000)
        books.take(["A", str(number)])
        if number < clicks - 1:
            books.take(["C", str(number), text])
        click = stored_click(number, click_id_bytes(text))
        stored.clicks.append(click)
        stored.labels.append(Label(click.click_id, is_unique=number % 2 == 0))
        add(click.campaign_id, click.ts, 0, 1, int(number % 2 == 0), COST, 0, 0)
        if number % 3 == 0:
            calls = 2 if number == 0 else 1
            for _ in range(calls):
                books.take(["Q", str(number), text])
                books.take(["P", str(number)])
            stored.postbacks[f"t{number}"] = calls
            at = click.ts + timedelta(minutes=20)
            paid = payout(number)
            stored.conversions.append(
                StoredConversion(click.click_id, click.campaign_id, f"t{number}", "approved", paid, VERDICT, at)
            )
            add(click.campaign_id, at, 0, 0, 0, 0, 1, paid)
            add(click.campaign_id, click.ts, 1, 0, 0, 0, 1, paid)
    return Run(books, stored)


def test_a_right_run_is_right() -> None:
    run = right_run()
    assert run.found() == set()
    assert (run.judged().answered, run.judged().stored) == (29, 30)


def a_click_is_gone(run: Run) -> None:
    del run.stored.clicks[4]


def a_click_is_there_twice(run: Run) -> None:
    run.stored.clicks.append(run.stored.clicks[4])


def an_answered_click_is_stored_under_two_ids(run: Run) -> None:
    number = int(run.stored.clicks[4].sub1)
    again = click_id_bytes(IDS.issue(run.stored.clicks[4].campaign_id, NOW_MS))
    run.stored.clicks.append(stored_click(number, again))


def an_unanswered_click_is_stored_twice(run: Run) -> None:
    again = click_id_bytes(IDS.issue(run.stored.clicks[29].campaign_id, NOW_MS))
    run.stored.clicks.append(stored_click(29, again))


def a_click_was_never_asked_for(run: Run) -> None:
    run.stored.clicks.append(stored_click(99, click_id_bytes(IDS.issue(11, NOW_MS))))


def a_click_names_no_request(run: Run) -> None:
    run.stored.clicks.append(run.stored.clicks[4]._replace(click_id=bytes(27), sub1=""))


def a_click_has_anothers_campaign(run: Run) -> None:
    other = next(number for number in CAMPAIGNS if number != run.stored.clicks[4].campaign_id)
    run.stored.clicks[4] = run.stored.clicks[4]._replace(campaign_id=other)


def a_click_has_anothers_sub(run: Run) -> None:
    run.stored.clicks[4] = run.stored.clicks[4]._replace(sub2=run.stored.clicks[5].sub2)


def a_click_has_anothers_address(run: Run) -> None:
    run.stored.clicks[4] = run.stored.clicks[4]._replace(ip="10.0.0.0")


def a_click_was_sent_elsewhere(run: Run) -> None:
    run.stored.clicks[4] = run.stored.clicks[4]._replace(location=run.stored.clicks[5].location)


def a_text_was_cut(run: Run) -> None:
    run.stored.clicks[4] = run.stored.clicks[4]._replace(agent=run.stored.clicks[4].agent[:-1])


def two_visitors_got_one_id(run: Run) -> None:
    run.books.answered[5] = run.books.answered[4]


def a_label_is_missing(run: Run) -> None:
    run.stored.labels.pop()


def a_click_is_labelled_twice(run: Run) -> None:
    run.stored.labels.append(run.stored.labels[4])


def a_conversion_is_gone(run: Run) -> None:
    del run.stored.conversions[2]


def a_conversion_is_there_twice(run: Run) -> None:
    run.stored.conversions.append(run.stored.conversions[2])


def a_conversion_was_never_posted(run: Run) -> None:
    run.stored.conversions.append(run.stored.conversions[2]._replace(transaction="t98"))


def a_conversion_is_worth_more(run: Run) -> None:
    run.stored.conversions[2] = run.stored.conversions[2]._replace(payout=Decimal("9.98"))


def a_conversion_has_anothers_click(run: Run) -> None:
    run.stored.conversions[2] = run.stored.conversions[2]._replace(click_id=run.stored.clicks[1].click_id)


def a_postback_is_gone(run: Run) -> None:
    run.stored.postbacks["t0"] = 1


def a_postback_is_there_twice(run: Run) -> None:
    run.stored.postbacks["t3"] = 2


def a_postback_was_never_sent(run: Run) -> None:
    run.stored.postbacks["t98"] = 1


def off_by_one(place: int) -> Callable[[Run], None]:
    def doctor(run: Run) -> None:
        row = next(row for row, sums in run.stored.rollups.items() if sums[place])
        sums = run.stored.rollups[row]
        run.stored.rollups[row] = (*sums[:place], sums[place] + 1, *sums[place + 1 :])

    doctor.__name__ = f"a roll-up is off by one in {('clicks', 'uniques', 'cost', 'conversions', 'revenue')[place]}"
    return doctor


def a_rollup_is_gone(run: Run) -> None:
    run.stored.rollups.popitem()


def a_rollup_counts_nothing_that_is_there(run: Run) -> None:
    run.stored.rollups[Rollup(11, EPOCH, 0, VERDICT)] = (Decimal(1), *(Decimal(0),) * 4)


def a_rollup_is_in_the_next_quarter(run: Run) -> None:
    row, sums = run.stored.rollups.popitem()
    run.stored.rollups[row._replace(bucket=row.bucket + timedelta(days=1))] = sums


def an_account_is_not_its_rollups(run: Run) -> None:
    run.stored.account_differences.append("missing: (1,15,…)")


def poison_has_no_dead_letter(run: Run) -> None:
    run.stored.dead_letters.clear()


def poison_has_two_dead_letters(run: Run) -> None:
    run.stored.dead_letters.append(POISON)


def a_good_record_is_a_dead_letter(run: Run) -> None:
    run.stored.dead_letters.append((b"p" * 16, 4))


def a_record_is_declared_lost(run: Run) -> None:
    run.stored.lost = 1


def a_delta_is_left(run: Run) -> None:
    run.stored.not_folded = 1


DOCTORED: dict[Callable[[Run], None], str] = {
    a_click_is_gone: "missing",
    a_click_is_there_twice: "duplicated",
    an_answered_click_is_stored_under_two_ids: "duplicated",
    an_unanswered_click_is_stored_twice: "duplicated",
    a_click_was_never_asked_for: "spurious",
    a_click_names_no_request: "spurious",
    a_click_has_anothers_campaign: "corrupted",
    a_click_has_anothers_sub: "corrupted",
    a_click_has_anothers_address: "corrupted",
    a_click_was_sent_elsewhere: "corrupted",
    a_text_was_cut: "corrupted",
    two_visitors_got_one_id: "click ids given to two visitors",
    a_label_is_missing: "labels without a click, or the other way",
    a_click_is_labelled_twice: "labels without a click, or the other way",
    a_conversion_is_gone: "conversions missing",
    a_conversion_is_there_twice: "conversions duplicated",
    a_conversion_was_never_posted: "conversions nobody posted",
    a_conversion_is_worth_more: "conversions corrupted",
    a_conversion_has_anothers_click: "conversions corrupted",
    a_postback_is_gone: "postbacks not stored once a call",
    a_postback_is_there_twice: "postbacks not stored once a call",
    a_postback_was_never_sent: "postbacks nobody sent",
    **{off_by_one(place): "roll-ups that differ from their rows" for place in range(5)},
    a_rollup_is_gone: "roll-ups that differ from their rows",
    a_rollup_counts_nothing_that_is_there: "roll-ups that differ from their rows",
    a_rollup_is_in_the_next_quarter: "roll-ups that differ from their rows",
    an_account_is_not_its_rollups: "sums of an account that differ from its roll-ups",
    poison_has_no_dead_letter: "poison without its dead letter",
    poison_has_two_dead_letters: "dead letters that were no poison",
    a_good_record_is_a_dead_letter: "dead letters that were no poison",
    a_record_is_declared_lost: "declared lost",
    a_delta_is_left: "not folded",
}


@pytest.mark.parametrize("doctor", DOCTORED, ids=lambda doctor: doctor.__name__.replace("_", " "))
def test_the_judge_finds(doctor: Callable[[Run], None]) -> None:
    run = right_run()
    doctor(run)
    assert DOCTORED[doctor] in run.found()


def test_an_unanswered_request_may_be_stored_or_not() -> None:
    run = right_run()
    gone = run.stored.clicks.pop()
    run.stored.labels.pop()
    row = Rollup(gone.campaign_id, quarter(gone.ts), 0, VERDICT)
    clicks, uniques, cost, conversions, revenue = run.stored.rollups[row]
    run.stored.rollups[row] = (clicks - 1, uniques, cost - COST, conversions, revenue)
    if not any(run.stored.rollups[row]):
        del run.stored.rollups[row]
    assert run.found() == set()


def test_a_postback_without_an_answer_may_be_stored_or_not() -> None:
    run = right_run()
    run.books.transactions[0].answered = 1
    assert run.found() == set()
    run.stored.postbacks["t0"] = 1
    assert run.found() == set()


@pytest.mark.parametrize(
    ("proof", "vacuous"),
    [
        (Proof([1, 3], resends=2, repeats=5), False),
        (Proof([1, 3], resends=None, repeats=5), False),
        (Proof([], resends=2, repeats=5), True),
        (Proof([1, 0], resends=2, repeats=5), True),
        (Proof([1, 3], resends=0, repeats=5), True),
        (Proof([1, 3], resends=2, repeats=0), True),
    ],
)
def test_a_run_that_proves_nothing_says_so(proof: Proof, vacuous: bool) -> None:
    assert bool(proof.lacking()) is vacuous


def test_what_ledgers_hold_is_read_back(tmp_path: Path) -> None:
    text = IDS.issue(11, NOW_MS)
    asked, planted = Ledger(tmp_path / "asked"), Ledger(tmp_path / "planted")
    for words in (("A", 0), ("A", 1), ("C", 0, text), ("Q", 5, text), ("Q", 5, text), ("P", 5), ("X", 503), ("X", 0)):
        asked.write(*words)
    planted.write("Z", POISON[0].hex(), POISON[1])
    books = Books.read([tmp_path / "asked", tmp_path / "planted"])
    asked.close()
    planted.close()
    assert books.asked == {0, 1}
    assert books.answered == {0: click_id_bytes(text)}
    assert (books.transactions[5].asked, books.transactions[5].answered) == (2, 1)
    assert books.transactions[5].click_id == click_id_bytes(text)
    assert books.poison == {POISON}
    assert books.refused == Counter({503: 1, 0: 1})


def test_the_page_tells_the_newest_ids(tmp_path: Path) -> None:
    page, seen = Page(tmp_path / "page", create=True), Page(tmp_path / "page")
    assert seen.last_ids(3) == []
    ids = [click_id_bytes(IDS.issue(11, NOW_MS)) for _ in range(600)]
    for answered, raw in enumerate(ids, 1):
        page.remember(answered, raw)
        page.publish(answered, answered, 2, 0, 1)
    assert seen.counts() == (600, 600, 2, 0, 1)
    assert seen.last_ids(3) == ids[-3:]
