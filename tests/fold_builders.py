"""Builders of what fold reads: a person whose clicks carry the keys of their days, as an edge makes them."""

import hashlib
import itertools
from datetime import UTC, datetime, timedelta

from management.fold.labels import Click
from shared.ids import CLICK_ID_BYTES

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_nonce = itertools.count(1)


def milliseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)


def click_id(moment: datetime, campaign_id: int = 1) -> bytes:
    """An id in the form of shared.ids, its tag random: fold proves nothing."""
    number = next(_nonce)
    tag = hashlib.blake2b(number.to_bytes(8, "big"), digest_size=16).digest()
    raw = b"\x01" + milliseconds(moment).to_bytes(6, "big") + campaign_id.to_bytes(4, "big") + tag
    assert len(raw) == CLICK_ID_BYTES
    return raw


class Person:
    """A visitor of one campaign: each day another key, each click with the keys of its day and of the day before."""

    def __init__(self, account_id: int = 1, name: bytes | None = None) -> None:
        self.account_id = account_id
        self.name = name if name is not None else next(_nonce).to_bytes(8, "big")

    def key(self, moment: datetime) -> bytes:
        return hashlib.blake2b(self.name, digest_size=12, salt=moment.date().isoformat().encode()).digest()

    def click(self, moment: datetime, *, flags: int = 0, number: int = 0, campaign_id: int = 1) -> Click:
        raw = click_id(moment, campaign_id)
        moment = EPOCH + timedelta(milliseconds=milliseconds(moment))
        return Click(
            number, self.account_id, moment, raw, flags, self.key(moment), self.key(moment - timedelta(days=1))
        )
