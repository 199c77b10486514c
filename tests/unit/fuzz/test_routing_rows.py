"""The routing table out of any rows: what cannot be served whole is left out and counted, the rest is served, and
nothing that Redis or the copy on disk holds stops a load.

Ordinary tables are in ../edge/test_table.py.
"""

import re
import tempfile
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.classify import Classifier
from edge.classify.network import NetworkData
from edge.classify.user_agent import UserAgents
from edge.click import ClickCore
from edge.click_request import RequestReader
from edge.client_ip import TrustedProxies
from edge.copy_format import CopyError, Mark
from edge.postbacks import Nonces, Sender, expired, judge
from edge.salts import Salts, usable_salts
from edge.table import Campaign, RawRow, Table, TableBuilder
from edge.table_copy import TableCopy
from management.ingest.decode import decode
from shared import events, postback
from shared.campaigns import AccountRow
from shared.ids import ClickIds, KeyRing
from tests.unit.edge.builders import NOON_MS, RawTable, account, address, built, campaign_row
from tests.unit.fuzz.effort import searched

DAY = NOON_MS // 86_400_000
CAMPAIGN = orjson.loads(campaign_row(fallback_url="https://later.example/").to_json())
ACCOUNT = orjson.loads(AccountRow(id=1, version=1).to_json())
SOUND = campaign_row(id=5, uuid="sound")

_plain = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from((0, 1, -1, 2**31, 2**32, 1e999, "", "1", "-1", "nan", "1e9", "x", "hmac", "block", "paused", "deleted",
                     "https://h.example/{sub1}", "https://", "203.0.113.0/24", "active", "suspended", "revshare", "new")),
    st.text(st.characters(codec="utf-8"), max_size=5),
).filter(lambda value: value != 1e999)  # fmt: skip
_values = st.one_of(
    _plain,
    st.lists(_plain, max_size=2),
    st.dictionaries(st.sampled_from(("sub1", "a", "")), _plain, max_size=2),
    st.just([[]]),
    st.just({"sub1": {}}),
)


def _changed(sound: dict[str, Any]) -> st.SearchStrategy[bytes]:
    changes = st.dictionaries(st.sampled_from(sorted(sound)), _values, min_size=1, max_size=3)
    gone: st.SearchStrategy[set[str]] = st.sets(st.sampled_from(sorted(sound)), max_size=1) | st.just(set())
    return st.builds(
        lambda new, lost: orjson.dumps({name: value for name, value in (sound | new).items() if name not in lost}),
        changes,
        gone,
    )


_noise = st.one_of(
    st.binary(max_size=20), _values.map(orjson.dumps), st.just(b"{" * 1000), st.just(b'{"id":1,"id":[]}')
)


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> ClickCore:
    classifier = Classifier(UserAgents(), NetworkData(tmp_path_factory.mktemp("none")))
    return ClickCore(classifier, ClickIds(KeyRing.generate()), RequestReader(TrustedProxies([])), "truncated")


def table_of(campaigns: list[bytes], accounts: list[bytes]) -> Table:
    table, _ = built(RawTable(1, [*campaigns, SOUND.to_json()], [*accounts, b'{"id":2,"version":1}'], {}))
    return table


@searched
@given(_changed(CAMPAIGN) | _noise)
@example(orjson.dumps(CAMPAIGN | {"id": []}))
@example(orjson.dumps(CAMPAIGN | {"id": True}))
@example(orjson.dumps(CAMPAIGN | {"uuid": {}}))
@example(orjson.dumps(CAMPAIGN | {"id": 2**31}))
@example(orjson.dumps(CAMPAIGN | {"name": None, "destination_url": "https://h.example/?n={campaign_name}"}))
@example(orjson.dumps(CAMPAIGN | {"click_cost": 0.5}))
@example(orjson.dumps(CAMPAIGN | {"postback_tokens": [1], "postback_security": "token"}))
@example(orjson.dumps(CAMPAIGN | {"max_payout": "x"}))
@example(orjson.dumps(CAMPAIGN | {"attribution_window_hours": "x"}))
def test_a_campaign_is_served_whole_or_left_out(core: ClickCore, text: bytes) -> None:
    table = table_of([text], [])
    assert table.by_id[5].row == SOUND, "its neighbour is served in any case"
    rows = set(table.by_id.values()) - {table.by_id[5]}
    assert len(rows) + table.unreadable == 1
    for campaign in rows:
        click_is_stored(core, table, campaign)
        postback_is_judged(campaign)


def click_is_stored(core: ClickCore, table: Table, campaign: Campaign) -> None:
    assert table.by_uuid[campaign.row.uuid] is campaign
    assert type(campaign.id) is int
    query = b"sub1=a&cost=1&a=b&zone=c&=d"
    click = core.judge(table, "GET", f"/c/{campaign.row.uuid}", query, {}, [], "203.0.113.5", "http", NOON_MS, NOON_MS)
    assert (click is None) == (campaign.status == "deleted")
    if click is not None:
        payload, answer, location, _ = click
        decode(bytes(16), 1, events.CLICK, payload)
        assert (answer is None) == bool(re.fullmatch(rb"https?://[^/?#]+[!-~]*", location, re.IGNORECASE))


def postback_is_judged(campaign: Campaign) -> None:
    for status, amount in (("approved", "1"), ("refunded", "-1"), ("pending", "")):
        fields = {"click_id": "clk_x", "status": status, "payout": amount, "token": "t", "ts": str(NOON_MS // 1000),
                  "nonce": "n", "sig": "s"}  # fmt: skip
        call = postback.read(fields, NOON_MS)
        sender = Sender(address(), fields, list(fields.items()))
        assert judge(campaign, account(), call, sender, Nonces(), NOON_MS) in postback.REASONS
    assert expired(campaign, 0, NOON_MS) in (True, False)


@searched
@given(_changed(ACCOUNT) | _noise)
@example(orjson.dumps(ACCOUNT | {"id": []}))
@example(orjson.dumps(ACCOUNT | {"fallback_url": 1}))
@example(orjson.dumps(ACCOUNT | {"currency": None}))
def test_an_account_is_taken_whole_or_left_out(core: ClickCore, text: bytes) -> None:
    table = table_of([orjson.dumps(CAMPAIGN)], [text])
    assert 2 in table.accounts
    found = [found for number, found in table.accounts.items() if number != 2]
    for one in found:
        assert isinstance(one.currency, str)
        assert isinstance(one.suspended, bool)
        assert isinstance(one.id, int)
    click_is_stored(core, table, table.by_id[7])


_salts = st.dictionaries(
    st.sampled_from(("2026-09-21", "2026-09-20", "", "9999-99-99", "x")), st.sampled_from(("ab" * 32, "", "zz"))
)


@searched
@given(
    st.lists(_changed(CAMPAIGN), max_size=3), st.lists(_changed(CAMPAIGN), max_size=2), _salts, st.integers(0, 2**63)
)
def test_a_copy_reads_back_as_it_was_written(
    rows: list[bytes], later: list[bytes], salts: dict[str, str], version: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "copy"
        keyed = [(b"c:%d" % number, text) for number, text in enumerate(rows)]
        mark = Mark("5eed", version, salts, 5)
        written = write(path, keyed, mark)
        found: list[RawRow] = []
        assert TableCopy(path).read(lambda key, text: found.append((key, text))) == mark
        assert found == keyed
        changes = [(b"c:%d" % number, text) for number, text in enumerate(later)]
        written.append(changes, mark)
        written.close()
        found.clear()
        assert TableCopy(path).read(lambda key, text: found.append((key, text))) == mark
        assert found == keyed + changes


def write(path: Path, rows: list[RawRow], mark: Mark) -> TableCopy:
    copy = TableCopy(path)
    draft = copy.draft()
    draft.add(rows)
    copy.replace(draft, mark, DAY)
    return copy


def _sample() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "copy"
        rows = [(b"c:5", SOUND.to_json()), (b"c:7", campaign_row().to_json()), (b"a:1", orjson.dumps(ACCOUNT))]
        copy = write(path, rows, Mark("5eed", 1, {"2026-09-21": "ab" * 32}, 5))
        copy.append([(b"c:5", SOUND.to_json())], Mark("5eed", 2, {}, 6))
        copy.close()
        return path.read_bytes()


def _old_sample() -> bytes:
    head = {"format": 1, "version": 1, "campaigns": 1, "accounts": 1, "salts": {"2026-09-21": "ab" * 32}}
    return b"\n".join([orjson.dumps(head), SOUND.to_json(), orjson.dumps(ACCOUNT), b""])


_COPY, _OLD_COPY = _sample(), _old_sample()
_heads = st.builds(
    lambda changes, lost: orjson.dumps(
        {n: v for n, v in (orjson.loads(_OLD_COPY.split(b"\n")[0]) | changes).items() if n != lost}
    ),
    st.dictionaries(
        st.sampled_from(("format", "version", "campaigns", "accounts", "salts")),
        _values | st.just({"2026-09-21": 5}),
        max_size=2,
    ),
    st.sampled_from(("", "format", "version", "campaigns", "accounts", "salts")),
)


def _broken(copy: bytes) -> st.SearchStrategy[bytes]:
    cuts = st.integers(0, len(copy)).map(lambda cut: copy[:cut])
    flips = st.tuples(st.integers(0, len(copy) - 1), st.integers(1, 255))
    return cuts | flips.map(lambda flip: copy[: flip[0]] + bytes((copy[flip[0]] ^ flip[1],)) + copy[flip[0] + 1 :])


@searched
@given(
    st.one_of(
        _broken(_COPY),
        _broken(_OLD_COPY),
        st.binary(max_size=60),
        _heads.map(lambda head: head + b"\n" + _OLD_COPY.partition(b"\n")[2]),
    )
)
def test_a_copy_of_any_content_is_refused_in_words_or_makes_a_table(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "copy"
        path.write_bytes(content)
        builder = TableBuilder()
        try:
            mark = TableCopy(path).read(builder.add)
        except CopyError:
            return
    assert mark is not None
    assert mark.version >= 0
    table = builder.finish(mark.generation, mark.version, Salts(usable_salts(mark.salts), bytes(32)))
    assert table.salts.of_day(DAY).today
    assert table.by_uuid or table.unreadable or not mark.generation
