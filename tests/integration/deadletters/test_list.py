"""Covers `milepost deadletters list` and `accept` as typed: what is shown, which letters, and what must never be shown.
What counts as a secret is tests/unit/deadletters."""

from datetime import timedelta

import asyncpg
import orjson

from shared.events import CLICK, POSTBACK, STRANGER
from tests.integration.deadletters.conftest import Milepost

FIRST, SECOND = bytes.fromhex("aa11" * 8), bytes.fromhex("bb22" * 8)


async def bury(
    owner: asyncpg.Connection,
    seq: int,
    payload: bytes = b"{}",
    *,
    stream: bytes = FIRST,
    kind: int = CLICK,
    reason: str = "not JSON",
    age: timedelta = timedelta(0),
) -> None:
    await owner.execute(
        "INSERT INTO dead_letters (stream, seq, kind, payload, reason, number, created_at)"
        " VALUES ($1, $2, $3, $4, $5, 0, now() - $6::interval)",
        *(stream, seq, kind, payload, reason, age),
    )


def lines(text: str) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in text.splitlines()]


async def test_none_is_said_in_words(milepost: Milepost) -> None:
    assert await milepost("deadletters", "list") == "no dead letters\n"
    assert await milepost("deadletters", "list", "--stream", "ab") == "no dead letters that match\n"
    assert await milepost("deadletters", "list", "--json") == ""


async def test_the_table_tells_when_where_what_and_why(owner: asyncpg.Connection, milepost: Milepost) -> None:
    await bury(owner, 7, b'{"v":9,"id":"clk_x"}', reason="version 9 is not known")
    await bury(owner, 8, b"\xff\x1b[31mred\nline", kind=9, reason="kind 9 is not known\nDETAIL: Failing row (secret)")
    shown = await milepost("deadletters", "list")
    created = await owner.fetchval("SELECT created_at FROM dead_letters WHERE seq = 7")
    heading, second, first, total = shown.splitlines()
    assert heading.split() == ["when", "(UTC)", "stream", "seq", "kind", "reason", "payload"]
    assert first.split() == [
        *f"{created:%Y-%m-%d %H:%M:%S}".split(),
        *("aa11aa11aa11", "7", "click", "version", "9", "is", "not", "known", '{"v":9,"id":"clk_x"}'),
    ]
    assert "kind 9 is not known" in second
    assert r"\xff\x1b[31mred line" in second
    assert "\x1b" not in shown
    assert "Failing row" not in shown
    assert total == "2 of 2 dead letters"


async def test_markup_in_a_payload_stays_text(owner: asyncpg.Connection, milepost: Milepost) -> None:
    await bury(owner, 1, b"[bold]x[/bold] [link=http://example.org]", reason="[red]no[/red]")
    shown = await milepost("deadletters", "list")
    assert "[bold]x[/bold] [link=http://example.org]" in shown
    assert "[red]no[/red]" in shown


async def test_filters_and_the_limit(owner: asyncpg.Connection, milepost: Milepost) -> None:
    await bury(owner, 1)
    await bury(owner, 2, kind=POSTBACK, age=timedelta(days=2))
    await bury(owner, 3, kind=STRANGER)
    await bury(owner, 4, stream=SECOND, age=timedelta(hours=5))

    async def seqs(*arguments: str) -> list[object]:
        return [line["seq"] for line in lines(await milepost("deadletters", "list", "--json", *arguments))]

    assert await seqs("--limit", "3") == [4, 3, 2]
    assert await seqs("--stream", SECOND.hex()[:5].upper()) == [4]
    assert await seqs("--kind", "postback") == [2]
    assert await seqs("--since", "24h") == [4, 3, 1]
    assert await seqs("--since", "4h", "--kind", "click", "--stream", "aa") == [1]
    assert (await milepost("deadletters", "list", "--limit", "1")).endswith("1 of 4 dead letters\n")
    assert "--since" in await milepost("deadletters", "list", "--since", "yesterday", status=2)


async def test_json_has_the_whole_payload_without_secrets(owner: asyncpg.Connection, milepost: Milepost) -> None:
    long = "x" * 3000
    payload = f'{{"query":"clickid=c&token=s3cret&api%5Fkey=k3y&q={long}","password":"pa ss"}}'.encode()
    await bury(owner, 5, payload, kind=POSTBACK, reason="refused: token=s3cret")
    (line,) = lines(await milepost("deadletters", "list", "--json"))
    assert line.pop("at")
    assert line == {
        "stream": FIRST.hex(),
        "seq": 5,
        "kind": "postback",
        "reason": "refused: token=***",
        "accepted": False,
        "payload": f'{{"query":"clickid=c&token=***&api%5Fkey=***&q={long}","password":"***"}}',
    }
    assert "s3cret" not in await milepost("deadletters", "list")


async def test_accept_marks_what_is_there_and_says_so(owner: asyncpg.Connection, milepost: Milepost) -> None:
    await bury(owner, 1)
    await bury(owner, 2)
    assert "2 dead letters are accepted" in await milepost("deadletters", "accept")
    await bury(owner, 3)
    assert (await milepost("deadletters", "list")).endswith("3 of 3 dead letters, 2 of them accepted\n")
    said = await milepost("deadletters", "accept", "--next", "1000")
    assert said.startswith("1 dead letter")
    assert "the next 1,000 will not count either" in said
    assert await owner.fetchval("SELECT letters FROM dead_letter_allowance") == 1000
    await milepost("deadletters", "accept")
    assert await owner.fetchval("SELECT letters FROM dead_letter_allowance") == 0
