"""The routing table in memory: building, taking over, changes of single rows, salts.

The copy on disk is in test_table_copy.py; when a table may replace another, and Redis itself, is in
integration/edge/routing.
"""

import orjson

from edge.salts import DAY_MS, Salts, usable_salts
from edge.table import Table, read_row
from shared.campaigns import AccountRow, CampaignRow
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


def changed(table: Table, *rows: CampaignRow | AccountRow, version: int = 2) -> None:
    kinds = [(b"c:" if isinstance(row, CampaignRow) else b"a:", row) for row in rows]
    keys = [(kind + b"%d" % row.id, row.to_json()) for kind, row in kinds]
    table.apply([(key, read_row(key, text)) for key, text in keys], version, table.salts)


def test_a_change_touches_its_own_rows_alone() -> None:
    table, _ = built(raw_table(campaign_row(), campaign_row(id=8, uuid="other"), accounts=(AccountRow(1, 1),)))
    neighbour = table.by_id[8]
    changed(
        table, campaign_row(version=2, status="paused"), AccountRow(1, 2, "suspended"), campaign_row(id=9, uuid="x")
    )
    assert table.by_id[7] is table.by_uuid[SLUG]
    assert (table.by_id[7].status, table.accounts[1].suspended, table.version) == ("paused", True, 2)
    assert table.by_uuid["x"] is table.by_id[9]
    assert table.by_id[8] is table.by_uuid["other"] is neighbour


def test_an_older_row_never_replaces_a_newer_one() -> None:
    table, _ = built(raw_table(campaign_row(version=5, status="paused"), accounts=(AccountRow(1, 5, "suspended"),)))
    changed(table, campaign_row(version=4), AccountRow(1, 4), version=6)
    assert (table.by_id[7].status, table.accounts[1].suspended, table.version) == ("paused", True, 6)


def test_a_row_that_comes_twice_while_a_table_is_built_counts_as_its_newer_self() -> None:
    newer, older = campaign_row(version=2, status="paused"), campaign_row(version=1)
    for rows in ((newer, older), (older, newer)):
        assert built(raw_table(*rows))[0].by_id[7].status == "paused"


def test_a_row_that_became_unreadable_is_left_out_until_it_can_be_read() -> None:
    table, _ = built(raw_table(campaign_row()))
    table.apply([(b"c:7", read_row(b"c:7", b"{"))], 2, table.salts)
    assert (table.by_id, table.by_uuid, table.unreadable) == ({}, {}, 1)
    changed(table, campaign_row(version=3), version=3)
    assert (set(table.by_id), set(table.by_uuid), table.unreadable) == ({7}, {SLUG}, 0)


def test_a_campaign_with_a_new_slug_leaves_the_old_one() -> None:
    table, _ = built(raw_table(campaign_row()))
    changed(table, campaign_row(version=2, uuid="new"))
    assert set(table.by_uuid) == {"new"}


def test_keys_of_no_known_kind_are_counted_and_harm_nothing() -> None:
    table, _ = built(raw_table(campaign_row()))
    for key in (b"", b"x:7", b"c:", b"c:x", b"c:" + b"9" * 5000):
        table.apply([(key, read_row(key, b"{}"))], 2, table.salts)
    assert (set(table.by_id), table.unreadable) == ({7}, 5)


def test_campaigns_share_what_they_have_alike() -> None:
    like = {"cost_model": "cpc", "cost_value": "0.123", "sub_params": {"sub1": "zone"}, "cost_param": "cost"}
    table, _ = built(raw_table(campaign_row(**like), campaign_row(id=8, uuid="other", **like)))
    one, two = table.by_id[7], table.by_id[8]
    assert one.source is two.source
    assert one.row.sub_params is two.row.sub_params
    assert one.row.cost_value is two.row.cost_value
    assert one.destination is not None
    assert two.destination is not None
    assert one.destination.slots is two.destination.slots


def test_salts_that_did_not_change_stay_the_same_object() -> None:
    """The keyed hashers of a day hang on it."""
    table, _ = built(raw_table(campaign_row(), salts={"2024-10-04": "aa" * 32}))
    salts = table.salts
    table.apply([], 2, Salts(dict(salts.known), ORIGIN))
    assert table.salts is salts
    table.apply([], 3, Salts({"2024-10-04": SALT["b"]}, ORIGIN))
    assert table.salts.known == {"2024-10-04": SALT["b"]}


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


def test_a_malformed_salt_is_left_out() -> None:
    texts = {"2024-10-04": "zz", "2024-10-03": "ab", "2024-10-02": "00" * 32}
    assert usable_salts(texts) == {"2024-10-02": bytes(32)}


def test_a_day_is_a_utc_day() -> None:
    assert DAY * DAY_MS == 1_728_000_000_000
