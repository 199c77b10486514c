"""The verdict on a user-agent string: program or person, device, system and browser. Remembers recent agents."""

from collections.abc import Iterable
from operator import attrgetter
from typing import Protocol

import ua_parser_rs
from ua_parser.loaders import load_lazy_builtins

from edge.classify.bots import PUBLISHES_RANGES, BotTable
from edge.classify.devices import DeviceTable
from edge.classify.signals import AgentVerdict
from edge.classify.vocabulary import (
    BROWSER_MATCHERS,
    OS_FALLBACKS,
    OS_MATCHERS,
    OTHER,
    Matcher,
    browser_name,
    system_name,
)
from edge.recent import Known

LONGEST_AGENT = 1024
"""Characters of an agent that are looked at and stored; no browser sends as many."""

_LONGEST_REMEMBERED = 512
_REMEMBERED_AGENTS = 20_000
_REMEMBERED_VERDICTS = 4_096

BOT_DEVICE = "bot"

_ROW = attrgetter("regex", "family", "major", "minor", "patch", "patch_minor")


_Fields = tuple[bool, str, str, bool, str, str, str, str, str]
"""What an AgentVerdict is made of, in its order."""


class _Versioned(Protocol):
    family: str
    major: str | None
    minor: str | None


class UserAgents:
    """Judges user-agent strings. Building one compiles about 2,300 patterns (a quarter of a second, once a worker).

    Safe against agents made to cost: the expressions run in time linear to the agent, which is cut at LONGEST_AGENT,
    and what is remembered is bounded in number and length, so a flood of new agents costs its own parsing only.
    """

    def __init__(self, remembered: int = _REMEMBERED_AGENTS) -> None:
        browsers, systems, _ = load_lazy_builtins()
        self._browsers = ua_parser_rs.UserAgentExtractor([*BROWSER_MATCHERS, *_rows(browsers)])
        self._systems = ua_parser_rs.OSExtractor([*OS_MATCHERS, *_rows(systems), *OS_FALLBACKS])
        self._devices = DeviceTable()
        self._bots = BotTable()
        self._verdicts: Known[_Fields, AgentVerdict] = Known(_REMEMBERED_VERDICTS, _verdict)
        """Agents that differ in nothing that is told share a verdict, which is cheaper than to make it again."""
        self._known: Known[str, AgentVerdict] = Known(remembered, self._judge, _LONGEST_REMEMBERED)
        self.verdict = self._known.__getitem__
        """What an agent says. Never raises: any text has a verdict, an empty one is a bot's."""

    def __len__(self) -> int:
        """How many agents are remembered."""
        return self._known.count()

    def _judge(self, user_agent: str) -> AgentVerdict:
        agent = user_agent[:LONGEST_AGENT].strip()
        program = self._bots.program(agent)
        system: _Versioned | None = self._systems.extract(agent)
        # A program has no browser. Asking would also be dear: the browser patterns of ua-parser look for robots'
        # names too, and an agent stuffed with such names costs milliseconds there and a tenth of one in our table.
        browser: _Versioned | None = None if program else self._browsers.extract(agent)
        return self._verdicts[
            program is not None,
            program.kind if program else "",
            program.name if program else "",
            program is not None and program.name.lower() in PUBLISHES_RANGES,
            BOT_DEVICE if program else self._devices.device(agent),
            system_name(system.family) if system else OTHER,
            _version(system),
            browser_name(browser.family) if browser else OTHER,
            _version(browser),
        ]


def _verdict(fields: _Fields) -> AgentVerdict:
    return AgentVerdict(*fields)


def _rows(matchers: Iterable[object]) -> list[Matcher]:
    return [_ROW(matcher) for matcher in matchers]


def _version(found: _Versioned | None) -> str:
    """Major and minor version, as far as they are named: finer parts split one browser over hundreds of values."""
    if found is None or not found.major:
        return ""
    return f"{found.major}.{found.minor}" if found.minor else found.major
