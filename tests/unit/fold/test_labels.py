"""Covers which clicks are unique, as a pure function: the windows, midnight, link previews, and that neither the order
of arrival nor the cut into batches changes a label. That Postgres ends up with the same labels and roll-ups is in
integration/fold/test_any_order.py."""

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta

from management.fold.labels import Change, Click, Opening, Visitor, day_of, label_day
from shared.traffic import Flag
from tests.fold_builders import Person

START = datetime(2026, 3, 1, tzinfo=UTC)
PREVIEW = int(Flag.PREVIEW)


def at(days: int = 0, hours: float = 0, **more: float) -> datetime:
    return START + timedelta(days=days, hours=hours, **more)


class Memory:
    """The labels that Postgres would hold, with the look-ups that fold makes of them."""

    def __init__(self) -> None:
        self.clicks: dict[Visitor, list[Click]] = defaultdict(list)
        self.openings: dict[Visitor, Opening] = {}

    def fold(self, batch: list[Click]) -> None:
        days: dict[datetime, list[Click]] = defaultdict(list)
        for click in batch:
            days[day_of(click.ts)].append(click)
        day, changed = min(days), dict[Visitor, Opening | None]()
        while days or changed:
            clicks = days.pop(day, [])
            change = label_day(clicks, self.openings, {**self.openings, **changed}, self.reopened(changed))
            self.take(clicks, change)
            changed = change.openings
            day += timedelta(days=1)

    def reopened(self, changed: dict[Visitor, Opening | None]) -> dict[Visitor, Opening | None]:
        found: dict[Visitor, Opening | None] = {}
        for visitor, clicks in self.clicks.items():
            before = (visitor[0], clicks[0].visitor_key_prev)
            if before in changed:
                opening = changed[before]
                eligible = [
                    Opening(click.ts, click.click_id)
                    for click in clicks
                    if not click.flags & PREVIEW and (opening is None or click.ts - opening.ts >= timedelta(hours=24))
                ]
                found[visitor] = min(eligible, default=None)
        return found

    def take(self, clicks: list[Click], change: Change) -> None:
        for click in clicks:
            self.clicks[click.account_id, click.visitor_key].append(click)
        for visitor, opening in change.openings.items():
            if opening is None:
                self.openings.pop(visitor, None)
            else:
                self.openings[visitor] = opening

    def unique(self) -> set[bytes]:
        return {opening.click_id for opening in self.openings.values()}


def unique_by_definition(clicks: list[Click]) -> set[bytes]:
    """One visitor's clicks, all of them at once: unique opens 24 hours, the first behind them is the next."""
    found: set[bytes] = set()
    opened: datetime | None = None
    for click in sorted(clicks, key=lambda click: (click.ts, click.click_id)):
        if click.flags & PREVIEW:
            continue
        if opened is None or click.ts - opened >= timedelta(hours=24):
            opened = click.ts
            found.add(click.click_id)
    return found


def folded(*clicks: Click) -> set[bytes]:
    memory = Memory()
    memory.fold(list(clicks))
    return memory.unique()


def test_the_second_click_of_a_visitor_is_not_unique() -> None:
    person = Person()
    first, second = person.click(at(hours=1)), person.click(at(hours=2))
    assert folded(second, first) == {first.click_id}


def test_exactly_24_hours_after_the_opening_a_visitor_is_unique_again() -> None:
    person = Person()
    first, early, late = person.click(at(hours=9)), person.click(at(1, 8.999)), person.click(at(1, 9))
    assert folded(first, early, late) == {first.click_id, late.click_id}


def test_the_24_hours_run_from_the_opening_and_not_from_the_last_click() -> None:
    person = Person()
    clicks = [person.click(at(hours=hours)) for hours in (0, 20, 23, 25, 47, 48, 49)]
    assert folded(*clicks) == {clicks[0].click_id, clicks[3].click_id, clicks[6].click_id}


def test_midnight_divides_nobody() -> None:
    person = Person()
    before, after = person.click(at(hours=23.9)), person.click(at(1, 0.1))
    assert before.visitor_key != after.visitor_key
    assert folded(before, after) == {before.click_id}


def test_of_two_clicks_of_one_instant_the_smaller_id_is_unique() -> None:
    person = Person()
    one, other = person.click(at(hours=1)), person.click(at(hours=1))
    assert folded(one, other) == {min(one.click_id, other.click_id)}


def test_a_link_preview_is_never_unique_and_opens_nothing() -> None:
    person = Person()
    preview, click = person.click(at(hours=1), flags=PREVIEW), person.click(at(hours=2))
    assert folded(preview, click) == {click.click_id}


def test_a_bot_can_be_unique() -> None:
    bot = Person().click(at(hours=1), flags=int(Flag.BOT))
    assert folded(bot) == {bot.click_id}


def test_a_late_click_takes_the_label_and_moves_the_following_days() -> None:
    person, memory = Person(), Memory()
    chain = [person.click(at(day, 12)) for day in range(4)]
    memory.fold(chain)
    assert memory.unique() == {click.click_id for click in chain}
    late = person.click(at(hours=13) - timedelta(days=1))
    memory.fold([late])
    assert memory.unique() == unique_by_definition([late, *chain])
    assert memory.unique() == {late.click_id, chain[1].click_id, chain[2].click_id, chain[3].click_id}


def test_accounts_share_no_visitor() -> None:
    one, other = Person(account_id=1, name=b"same"), Person(account_id=2, name=b"same")
    first, second = one.click(at(hours=1)), other.click(at(hours=2))
    assert folded(first, second) == {first.click_id, second.click_id}


def test_any_order_and_any_cut_into_batches_give_the_labels_of_the_definition() -> None:
    for seed in range(400):
        dice = random.Random(seed)
        people = [Person() for _ in range(dice.randint(1, 4))]
        clicks: dict[Person, list[Click]] = {
            person: [
                person.click(
                    at(hours=dice.choice([dice.uniform(0, 120), dice.randint(0, 10) * 12])),
                    flags=PREVIEW if dice.random() < 0.15 else 0,
                )
                for _ in range(dice.randint(1, 12))
            ]
            for person in people
        }
        arrival = [click for those in clicks.values() for click in those]
        dice.shuffle(arrival)
        memory = Memory()
        while arrival:
            size = dice.choice([1, 2, 3, 7, 50])
            memory.fold(arrival[:size])
            del arrival[:size]
        expected = set().union(*(unique_by_definition(those) for those in clicks.values()))
        assert memory.unique() == expected, f"seed {seed}"
