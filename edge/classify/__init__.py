"""The inline verdict on a click: what its agent, its address and its headers say, and what follows from that.

`Classifier` is what the handler calls. The order of work: user_agent.py and network.py describe, signals.py reduces
the descriptions to facts, rules.py judges the facts.
"""

from edge.classify.network import UNKNOWN_COUNTRY, NetworkData
from edge.classify.rules import Verdict, judge
from edge.classify.signals import AgentVerdict, NetworkVerdict, Signals
from edge.classify.user_agent import UserAgents
from edge.client_ip import ClientAddress

Judgement = tuple[Verdict, AgentVerdict, NetworkVerdict]


class Classifier:
    """Judges clicks. Equal facts get the same verdict object: facts have few values, so there are few verdicts."""

    def __init__(self, user_agents: UserAgents, network_data: NetworkData) -> None:
        self._agent = user_agents.verdict
        self._lookup = network_data.lookup
        self._network_data = network_data
        self._verdicts: dict[tuple[str, bool, int, bool, bool, bool], Verdict] = {}
        """By the facts of Signals without `kind`, which follows from the categories."""

    def classify(self, user_agent: str, address: ClientAddress, prefetch: bool = False) -> Judgement:
        """The verdict on a click and the two descriptions that it rests on. Never raises for any agent or address.

        `prefetch` is the answer of edge.classify.headers.is_prefetch; it is noted among the reasons.
        """
        agent = self._agent(user_agent)
        network = self._lookup(address)
        facts = (
            agent.bot_kind,
            agent.publishes_ranges,
            network.categories,
            network.country != UNKNOWN_COUNTRY,
            self._network_data.has_crawler_ranges,
            prefetch,
        )
        verdict = self._verdicts.get(facts)
        if verdict is None:
            kind, publishes, categories, *others = facts
            verdict = self._verdicts[facts] = judge(Signals(kind, publishes, network.kind, categories, *others))
        return verdict, agent, network


__all__ = ["AgentVerdict", "Classifier", "Judgement", "NetworkVerdict", "Verdict"]
