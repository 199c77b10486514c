"""The fixtures of tests.api_server: one database and one server a file, one account a test."""

from tests.api_server import api, database_url, obedient_edge, owner_connection, redis_url, server, stranger

__all__ = ["api", "database_url", "obedient_edge", "owner_connection", "redis_url", "server", "stranger"]
