"""Clicks as an edge journals them, made beforehand: what the parts behind the edge are fed with."""

import itertools
import tempfile
from ipaddress import ip_network
from pathlib import Path

from benchmarks import click_core, ip_data
from edge.classify import Classifier
from edge.classify.network import NetworkData
from edge.classify.user_agent import UserAgents
from edge.click import ClickCore
from edge.click_request import RequestReader
from edge.client_ip import TrustedProxies
from shared.ids import ClickIds, KeyRing

MS_BETWEEN_CLICKS = 2


def payloads(count: int, campaigns: int) -> list[bytes]:
    """`count` events of kind CLICK, one every 2 ms of one day, each with an id of its own, through the edge's own core
    with address data loaded; a few of the `campaigns` have most of the clicks."""
    routing = click_core.table(campaigns)
    with tempfile.TemporaryDirectory() as folder:
        ip_data.write(Path(folder))
        reader = RequestReader(TrustedProxies([ip_network("127.0.0.0/8")]))
        classifier = Classifier(UserAgents(), NetworkData(Path(folder)))
        core = ClickCore(classifier, ClickIds(KeyRing.generate()), reader, "truncated")
        found: list[bytes] = []
        requests = itertools.islice(click_core.requests(campaigns, new_agents=False), count)
        for number, (path, query, headers, pairs) in enumerate(requests):
            moment = click_core.NOW_MS + number * MS_BETWEEN_CLICKS
            click = core.judge(routing, "GET", path, query, headers, pairs, click_core.PROXY, "http", moment, moment)
            assert click is not None, path
            found.append(click[0])
    return found
