"""One compiled set of agent patterns for all tests of this folder: building it takes a quarter of a second."""

import pytest

from edge.classify.user_agent import UserAgents


@pytest.fixture(scope="session")
def user_agents() -> UserAgents:
    return UserAgents()
