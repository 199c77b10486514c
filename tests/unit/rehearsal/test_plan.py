"""Covers the demo's plan: the same for the same seed, and with everything in it that the demo promises. Leaves the
figures that follow from it to test_expectation.py."""

import ipaddress
from pathlib import Path

import pytest

from management.rehearsal.errors import RehearsalError
from management.rehearsal.listed_addresses import ListedAddresses, Ranges, read_lists
from management.rehearsal.plan import Plan, PlannedVisit, Visitor, make_plan

NO_LISTS = ListedAddresses()


def listed(directory: Path, **files: str) -> ListedAddresses:
    for name, text in files.items():
        (directory / f"{name}.txt").write_text(text)
    return read_lists(directory)


def of(plan: Plan, visitor: Visitor) -> list[PlannedVisit]:
    return [planned for planned in plan.visits if planned.visitor is visitor]


def stories(plan: Plan) -> set[tuple[tuple[str, bool], ...]]:
    """Each different course of postbacks: statuses, and whether a payout is named."""
    return {
        tuple((postback.status, postback.payout is not None) for postback in planned.postbacks)
        for planned in plan.visits
        if planned.postbacks
    }


def test_the_same_seed_gives_the_same_plan() -> None:
    assert make_plan(7, 300, NO_LISTS) == make_plan(7, 300, NO_LISTS)


def test_another_seed_gives_another_plan() -> None:
    assert make_plan(7, 300, NO_LISTS) != make_plan(8, 300, NO_LISTS)


@pytest.mark.parametrize("clicks", [1, 2, 500])
def test_it_has_exactly_as_many_clicks_as_were_asked_for(clicks: int) -> None:
    assert sum(planned.counts for planned in make_plan(1, clicks, NO_LISTS).visits) == clicks


def test_it_has_every_kind_of_visit_and_conversion() -> None:
    plan = make_plan(1, 2_000, NO_LISTS)
    uncounted = [planned.visit for planned in plan.visits if not planned.counts]
    assert any(visit.prefetch for visit in uncounted)
    assert any(visit.method == "HEAD" for visit in uncounted)
    assert {planned.campaign for planned in plan.visits} == {0, 1, 2}
    assert {campaign.cost_model for campaign in plan.campaigns} == {"cpc", "cpm", "cpa"}
    approved, pending, refunded = ("approved", True), ("pending", True), ("refunded", True)
    assert stories(plan) == {
        (approved,),
        (approved, approved, approved),
        (pending,),
        (pending, approved),
        (approved, refunded),
        (("approved", False),),
    }
    assert "" in {planned.visit.user_agent for planned in of(plan, Visitor.PROGRAM)}


def test_some_visitors_return() -> None:
    plan = make_plan(1, 500, NO_LISTS)
    seen = [(planned.visit.address, planned.visit.user_agent) for planned in plan.visits if planned.counts]
    assert 0.6 < len(set(seen)) / len(seen) < 0.9


def test_payouts_stay_below_what_an_open_channel_holds() -> None:
    plan = make_plan(3, 2_000, NO_LISTS)
    for planned in plan.visits:
        for postback in planned.postbacks:
            if postback.payout is not None:
                assert 0 < float(postback.payout) < 10 * float(plan.campaigns[planned.campaign].default_payout)


def test_orders_are_never_shared_by_two_clicks() -> None:
    plan = make_plan(3, 2_000, NO_LISTS)
    orders = [{postback.transaction_id for postback in planned.postbacks} for planned in plan.visits]
    assert sum(map(len, orders)) == len(set().union(*orders))


def test_without_lists_nobody_is_masked() -> None:
    assert not of(make_plan(1, 500, NO_LISTS), Visitor.MASKED)


def test_masked_visitors_come_from_the_lists_and_nobody_else_does(tmp_path: Path) -> None:
    addresses = listed(
        tmp_path, vpn="192.0.2.0/25 # one\n\nnonsense\n", datacenter="198.51.100.7", residential="192.0.2.64/26"
    )
    plan = make_plan(1, 1_000, addresses)
    masked = {ipaddress.ip_address(planned.visit.address) for planned in of(plan, Visitor.MASKED)}
    vpn = ipaddress.ip_network("192.0.2.0/26")
    assert masked
    assert all(address in vpn or str(address) == "198.51.100.7" for address in masked)
    assert ipaddress.ip_address("198.51.100.7") in masked


def test_ordinary_visitors_keep_off_the_lists(tmp_path: Path) -> None:
    addresses = listed(tmp_path, tor="84.128.0.0/10\n86.128.0.0/10\n2003::/19\n24.0.0.0/13\n")
    plan = make_plan(1, 1_000, addresses)
    for planned in of(plan, Visitor.PERSON):
        assert ipaddress.ip_address(planned.visit.address) not in addresses.masking


def test_lists_of_every_address_leave_no_ordinary_visitor(tmp_path: Path) -> None:
    with pytest.raises(RehearsalError, match="no ordinary visitors"):
        make_plan(1, 10, listed(tmp_path, vpn="0.0.0.0/0\n::/0"))


def test_an_overruled_vpn_list_is_no_endless_search(tmp_path: Path) -> None:
    with pytest.raises(RehearsalError, match="also on"):
        make_plan(1, 500, listed(tmp_path, vpn="192.0.2.0/24", relay="192.0.2.0/24"))


def test_ranges_know_their_first_and_last_address() -> None:
    networks = [ipaddress.ip_network(text) for text in ("10.0.0.0/9", "10.128.0.0/9", "10.1.0.0/16", "::1/128")]
    ranges = Ranges(networks)
    inside = ("10.0.0.0", "10.200.0.1", "10.255.255.255", "::1")
    outside = ("9.255.255.255", "11.0.0.0", "::", "::2", "::a00:1")
    assert all(ipaddress.ip_address(text) in ranges for text in inside)
    assert not any(ipaddress.ip_address(text) in ranges for text in outside)
