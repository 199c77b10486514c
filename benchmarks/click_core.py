"""Where a click's microseconds go inside the core: processor time of each step alone and of the whole, in one process.

No server, no journal, no network: edge.click.ClickCore.judge and what it calls, with 100,000 campaigns loaded, 40
known agents, addresses of a /12 behind a trusted proxy, a sub id and a cost that never repeat. Every round takes clicks
that no round before it had and gives them to the whole and to each step in turn, so that the noise of a shared machine
falls on all alike; the median and the least of the rounds are printed.

A step repeated alone has the processor's caches to itself, so all steps one after the other cost more than their sum:
the sum says where to look, the whole says what a click costs.

    python -m benchmarks.click_core [--rounds 40] [--campaigns 100000]
"""

import argparse
import gc
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from benchmarks import ip_data, traffic
from edge.classify import Classifier
from edge.classify.network import NetworkData
from edge.classify.user_agent import UserAgents
from edge.click import ClickCore, find
from edge.click_event import click_payload
from edge.click_request import RequestReader
from edge.client_ip import TrustedProxies
from edge.decide import decide
from edge.macro_values import Destination
from edge.parse import link_parameters
from edge.request_head import Pairs
from edge.salts import Salts
from edge.table import Table, TableBuilder
from edge.visitor import KeyMaker
from shared.campaigns import AccountRow
from shared.ids import ClickIds, KeyRing
from shared.traffic import ClickMode

CLICKS_A_ROUND = 400
NOW_MS = 1_790_000_000_000
PROXY = "127.0.0.1"

Request = tuple[str, bytes, dict[bytes, bytes], Pairs]
"""Path, query, headers as a mapping, headers in order."""


def table(campaigns: int) -> Table:
    """As every other bench loads them."""
    builder = TableBuilder()
    for row in traffic.rows(campaigns):
        builder.add(b"c:%d" % row.id, row.to_json())
    builder.add(b"a:1", AccountRow(id=1, version=1).to_json())
    salts = {"2026-09-20": bytes([0xAA] * 32), "2026-09-21": bytes([0xBB] * 32)}
    return builder.finish("bench", 1, Salts(salts, bytes(32)))


def slug(number: int) -> str:
    return f"4bfaec44-7f1c-4a3e-9d0b-{number:012x}"


def requests(campaigns: int, *, new_agents: bool) -> Iterator[Request]:
    """Endless; a few campaigns have most of the clicks."""
    draw = random.Random(2)
    number = 0
    while True:
        number += 1
        campaign = min(int(draw.paretovariate(0.5)), campaigns)
        agent = traffic.AGENTS[number % len(traffic.AGENTS)] + (f" Tab/{number}" if new_agents else "")
        pairs = [
            (b"host", b"go.example"),
            (b"user-agent", agent.encode()),
            (b"x-forwarded-for", b"81.%d.%d.%d" % (draw.randrange(16), draw.randrange(256), draw.randrange(1, 255))),
            (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            (b"accept-language", draw.choice((b"en-GB,en;q=0.9", b"de-AT,de;q=0.9,en;q=0.8", b"fr"))),
            (b"accept-encoding", b"gzip, deflate, br"),
            (b"referer", b"https://news.example/article-%d?id=7" % draw.randrange(50)),
        ]
        query = b"sub1=zone%d&cost=%d.%06d&utm_source=bench" % (number, number % 90, number % 1_000_000)
        yield "/c/" + traffic.SLUG % campaign, query, dict(pairs), pairs


@dataclass(slots=True)
class Click:
    """One request, and what each step made of it for the next."""

    path: str
    query: bytes
    headers: dict[bytes, bytes]
    pairs: Pairs
    campaign: Any = None
    request: Any = None
    parameters: Any = None
    judgement: Any = None
    decision: Any = None
    click_id: Any = None
    keys: Any = None
    location: Any = None
    payload: Any = None


@dataclass(frozen=True, slots=True)
class Step:
    """A function of the core, what it is given of a click, and where the next steps look for what it gives."""

    name: str
    place: str
    call: Callable[..., Any]
    arguments: Callable[[Click], tuple[Any, ...]]


def whole(routing: Table, data: NetworkData, user_agents: UserAgents) -> Step:
    reader = RequestReader(TrustedProxies([ip_network("127.0.0.0/8")]))
    core = ClickCore(Classifier(user_agents, data), ClickIds(KeyRing.generate()), reader, "truncated")
    return Step(
        "whole",
        "payload",
        core.judge,
        lambda c: (routing, "GET", c.path, c.query, c.headers, c.pairs, PROXY, "http", NOW_MS, NOW_MS),
    )


def steps(routing: Table, data: NetworkData, user_agents: UserAgents) -> list[Step]:
    """In the order of the core, on parts of their own: what they remember of a click must not be known to the whole."""
    reader = RequestReader(TrustedProxies([ip_network("127.0.0.0/8")]))
    mode = int(ClickMode.CLICK)
    return [
        Step("find campaign", "campaign", find, lambda c: (routing, c.path)),
        Step("request headers", "request", reader.read, lambda c: (PROXY, "http", c.headers, c.pairs)),
        Step("parameters", "parameters", link_parameters, lambda c: (c.query, c.campaign.source)),
        Step(
            "classification",
            "judgement",
            Classifier(user_agents, data).classify,
            lambda c: (c.request.user_agent, c.request.address, c.request.prefetch),
        ),
        Step(
            "decision",
            "decision",
            partial(decide, bot=False),
            lambda c: (c.campaign, routing.accounts.get(c.campaign.account_id)),
        ),
        Step("click id", "click_id", ClickIds(KeyRing.generate()).issue, lambda c: (c.campaign.id, NOW_MS)),
        Step(
            "visitor and address keys",
            "keys",
            KeyMaker().keys,
            lambda c: (
                routing.salts,
                NOW_MS,
                c.request.address,
                c.request.raw_user_agent,
                c.request.raw_accept_language,
                c.campaign.key_part,
            ),
        ),
        Step(
            "destination",
            "location",
            Destination.location,
            lambda c: (
                c.decision.template,
                c.click_id,
                c.campaign,
                c.parameters,
                c.judgement[1],
                c.judgement[2],
                c.request,
                NOW_MS,
            ),
        ),
        Step(
            "event as JSON",
            "payload",
            click_payload,
            lambda c: (
                c.click_id,
                NOW_MS,
                mode,
                c.campaign,
                c.request,
                c.parameters,
                c.judgement,
                c.decision,
                c.keys,
                c.location,
                "truncated",
            ),
        ),
    ]


def taken(step: Step, clicks: Sequence[Click]) -> float:
    """Processor time of one call in microseconds; what the step gives is put into the clicks."""
    call = step.call
    given = [step.arguments(click) for click in clicks]
    start = time.process_time_ns()
    for arguments in given:
        call(*arguments)
    spent = time.process_time_ns() - start
    start = time.process_time_ns()
    for _ in given:
        pass
    spent -= time.process_time_ns() - start
    for click, arguments in zip(clicks, given, strict=True):
        setattr(click, step.place, call(*arguments))
    return spent / len(clicks) / 1000


def measure(
    routing: Table, data: NetworkData, user_agents: UserAgents, rounds: int, *, new_agents: bool = False
) -> dict[str, list[float]]:
    """Microseconds of each step and of the whole, one figure a round."""
    measured = [whole(routing, data, user_agents), *steps(routing, data, user_agents)]
    source = requests(len(routing.by_id), new_agents=new_agents)
    found: dict[str, list[float]] = {step.name: [] for step in measured}
    for number in range(rounds + 2):
        clicks = [Click(*next(source)) for _ in range(CLICKS_A_ROUND)]
        for step in measured:
            microseconds = taken(step, clicks)
            if number >= 2:  # the first rounds fill what is remembered
                found[step.name].append(microseconds)
    return found


def show(title: str, found: dict[str, list[float]]) -> None:
    print(f"\n{title:<28} {'median':>7} {'least':>7}   µs of processor time a click")
    parts = [name for name in found if name != "whole"]
    for name in parts:
        print(f"  {name:<26} {statistics.median(found[name]):>7.2f} {min(found[name]):>7.2f}")
    sums = [sum(values) for values in zip(*(found[name] for name in parts), strict=True)]
    print(f"  {'each alone, together':<26} {statistics.median(sums):>7.2f} {min(sums):>7.2f}")
    print(f"  {'one after the other':<26} {statistics.median(found['whole']):>7.2f} {min(found['whole']):>7.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--campaigns", type=int, default=100_000)
    given = parser.parse_args()
    routing, user_agents = table(given.campaigns), UserAgents()
    with tempfile.TemporaryDirectory() as folder:
        empty, full = Path(folder) / "empty", Path(folder) / "full"
        full.mkdir()
        ip_data.write(full)
        without, complete = NetworkData(empty), NetworkData(full)
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)  # as the worker sets it
        show("without address data", measure(routing, without, user_agents, given.rounds))
        show("with mmdb and lists", measure(routing, complete, user_agents, given.rounds))
        show("every agent new", measure(routing, without, user_agents, given.rounds, new_agents=True))


if __name__ == "__main__":
    main()
