"""The routing table in memory: building, taking over, salts, the copy on disk.

When a table may replace another, and Redis itself, is in integration/edge/test_routing.py.
"""

import dataclasses

import orjson
import pytest

from edge.table import DAY_MS, Salts, decode_copy, encode_copy
from shared.campaigns import AccountRow
from shared.ids import next_salt
from tests.unit.edge.builders import SLUG, built, campaign, campaign_row, raw_table

ORIGIN = b"o" * 32
DAY = 20_000  # 2024-10-04
SALT = {name: name.encode() * 32 for name in "abc"}


def test_a_campaign_is_found_by_id_and_by_slug() -> None:
    table, compiled = built(raw_table(campaign_row(), version=9, accounts=(AccountRow(id=1, version=1),)))
    assert table.version == 9
    assert table.by_id[7] is table.by_uuid[SLUG]
    assert table.accounts[1].currency == "USD"
    assert compiled == 2


def test_rows_that_did_not_change_are_taken_over() -> None:
    first, _ = built(raw_table(campaign_row(), campaign_row(id=8, uuid="other")))
    second, compiled = built(raw_table(campaign_row(), campaign_row(id=8, uuid="other", status="paused")), first)
    assert second.by_id[7] is first.by_id[7]
    assert second.by_id[8].status == "paused"
    assert compiled == 1


def test_a_row_that_is_gone_leaves_the_table() -> None:
    first, _ = built(raw_table(campaign_row(), campaign_row(id=8, uuid="other")))
    second, _ = built(raw_table(campaign_row()), first)
    assert set(second.by_id) == {7}
    assert set(second.by_uuid) == {SLUG}


def test_an_unreadable_row_is_left_out_and_counted() -> None:
    raw = raw_table(campaign_row())
    raw.campaigns.extend([b"{", b"[]", b'{"id":3}'])
    table, _ = built(raw)
    assert set(table.by_id) == {7}
    assert table.unreadable == 3


def test_fields_of_a_later_version_are_passed_over() -> None:
    row = orjson.loads(campaign_row().to_json()) | {"flow": "of tomorrow"}
    raw = raw_table()
    raw.campaigns.append(orjson.dumps(row))
    assert set(built(raw)[0].by_id) == {7}


def test_a_large_table_is_built_in_many_steps() -> None:
    from edge.table import TableBuilder

    rows = [campaign_row(id=number, uuid=f"slug-{number}") for number in range(1, 401)]
    builder = TableBuilder(raw_table(*rows), None, ORIGIN)
    assert len(list(builder.steps())) >= 9
    assert builder.table is not None
    assert len(builder.table.by_id) == 400


def test_allowed_addresses_are_networks_and_nonsense_among_them_counts_for_nothing() -> None:
    networks = campaign(allowed_ips=("203.0.113.7", "2001:db8::/32", "nonsense")).allowed
    assert [str(network) for network in networks] == ["203.0.113.7/32", "2001:db8::/32"]


def test_known_salts_are_used_as_they_are() -> None:
    salts = Salts({"2024-10-03": SALT["a"], "2024-10-04": SALT["b"]}, ORIGIN)
    assert salts.of_day(DAY) == (SALT["b"], SALT["a"], False)


def test_a_missing_salt_is_derived_from_the_last_known_and_flagged() -> None:
    salts = Salts({"2024-10-01": SALT["a"], "2024-10-02": SALT["b"]}, ORIGIN)
    derived = salts.of_day(DAY)
    assert derived == (next_salt(SALT["b"], "2024-10-04"), next_salt(SALT["b"], "2024-10-03"), True)
    assert salts.of_day(DAY + 1).yesterday == derived.today


def test_without_any_salt_the_process_has_its_own() -> None:
    salts = Salts({}, ORIGIN)
    assert salts.of_day(DAY) == (next_salt(ORIGIN, "2024-10-04"), next_salt(ORIGIN, "2024-10-03"), True)


def test_a_salt_of_the_future_is_never_used_for_an_earlier_day() -> None:
    salts = Salts({"2024-10-05": SALT["c"]}, ORIGIN)
    assert salts.of_day(DAY).today == next_salt(ORIGIN, "2024-10-04")


def test_the_copy_on_disk_keeps_everything_but_salts_older_than_two_days() -> None:
    salts = {"2024-10-01": SALT["a"].hex(), "2024-10-02": SALT["b"].hex(), "2024-10-04": SALT["c"].hex()}
    raw = raw_table(campaign_row(name="a\nb"), version=5, accounts=(AccountRow(id=1, version=2),), salts=salts)
    copy = decode_copy(encode_copy(raw, DAY))
    assert copy == dataclasses.replace(raw, salts={day: salts[day] for day in ("2024-10-02", "2024-10-04")})


def test_the_copy_keeps_the_last_salt_to_derive_from() -> None:
    salts = {"2024-09-01": SALT["a"].hex(), "2024-09-02": SALT["b"].hex()}
    assert decode_copy(encode_copy(raw_table(salts=salts), DAY)).salts == {"2024-09-02": SALT["b"].hex()}


@pytest.mark.parametrize("cut", [0, 1, 10, -1, -20])
def test_a_damaged_copy_is_refused(cut: int) -> None:
    content = encode_copy(raw_table(campaign_row(), campaign_row(id=8, uuid="x")), DAY)
    with pytest.raises((ValueError, KeyError, TypeError)):
        decode_copy(content[:cut])


def test_a_copy_of_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="format"):
        decode_copy(b'{"format":99}\n')


def test_a_malformed_salt_is_left_out() -> None:
    assert raw_table(salts={"2024-10-04": "zz", "2024-10-03": "ab", "2024-10-02": "00" * 32}).usable_salts() == {
        "2024-10-02": bytes(32)
    }


def test_a_day_is_a_utc_day() -> None:
    assert DAY * DAY_MS == 1_728_000_000_000
