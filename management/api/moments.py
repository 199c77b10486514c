"""Instants as answers show them."""

from datetime import UTC, datetime


def moment(instant: datetime) -> str:
    """`2024-01-15T10:30:00Z`: UTC, whole seconds."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
