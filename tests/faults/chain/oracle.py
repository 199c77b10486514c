"""What was asked and what was answered, kept on disk outside the product: the oracle of the chain's faults.

Everything that a request says follows from its number (`asked_click`), so the ledger holds a few bytes a request, and
the judge can tell what a stored row must look like. A line is written before it counts: first that a request goes out,
then what came back. Lines, words parted by blanks:

    A number              a click is asked for
    C number click_id     it was answered with 302 and this id
    Q number click_id     a postback of transaction `number` is sent for this click
    P number              it was answered with 200
    X status              a request was refused with this status, or broke (0): it may be stored or not
    Z stream seq          a record that nobody can decode was put into a journal
"""

import hashlib
import mmap
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

from shared.ids import click_id_bytes

CAMPAIGNS: Final = 4
PLANTED_FROM: Final = 1 << 40
"""Numbers of clicks that the nemesis wrote into a journal itself begin here."""
_VISITORS: Final = 4_000
_AGENTS: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
    " Version/18.5 Mobile/15E148 Safari/604.1",
    "curl/8.5.0",
)


class Asked(NamedTuple):
    """What click `number` says; `campaign` counts from 0, `address` is the visitor's."""

    campaign: int
    sub1: str
    sub2: str
    external_id: str
    agent: str
    language: str
    address: str

    @property
    def stored_address(self) -> str:
        """As MILEPOST_IP_STORAGE=truncated keeps it."""
        return self.address.rpartition(".")[0] + ".0"


def asked_click(seed: int, number: int) -> Asked:
    """The same for the same seed and number, in every process."""
    digest = hashlib.blake2b(f"{seed} {number}".encode(), digest_size=16).digest()
    visitor = int.from_bytes(digest[:4], "big") % _VISITORS
    return Asked(
        campaign=digest[4] % CAMPAIGNS,
        sub1=str(number),
        sub2=digest.hex(),
        external_id=f"e{number}é",
        agent=_AGENTS[visitor % len(_AGENTS)],
        language=("en", "de", "fr")[digest[5] % 3],
        address=f"81.2.{visitor >> 8}.{visitor & 255}",
    )


def payout(transaction: int) -> Decimal:
    """What every call of this transaction says it is worth: 1.00 to 9.99."""
    return Decimal(100 + transaction * 7919 % 900) / 100


class Ledger:
    """Appends lines; a line is in the kernel when the call returns, so the end of this process loses none."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, *words: object) -> None:
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())

    def close(self) -> None:
        os.close(self._file)


@dataclass
class Transaction:
    """Postbacks with one transaction id: `answered` of `asked` calls got their 200."""

    click_id: bytes
    asked: int = 0
    answered: int = 0


@dataclass
class Books:
    """All ledgers of a run together. `answered`: number → click id; a number without one may be stored or not."""

    asked: set[int] = field(default_factory=set)
    answered: dict[int, bytes] = field(default_factory=dict)
    transactions: dict[int, Transaction] = field(default_factory=dict)
    poison: set[tuple[bytes, int]] = field(default_factory=set)
    refused: Counter[int] = field(default_factory=Counter)

    @classmethod
    def read(cls, paths: Iterable[Path]) -> "Books":
        books = cls()
        for path in paths:
            with path.open(encoding="ascii") as lines:
                for line in lines:
                    books.take(line.split())
        return books

    def take(self, words: list[str]) -> None:
        """One line."""
        kind, number = words[0], words[1]
        if kind == "A":
            self.asked.add(int(number))
        elif kind == "C":
            self.answered[int(number)] = click_id_bytes(words[2])
        elif kind == "Q":
            self.transactions.setdefault(int(number), Transaction(click_id_bytes(words[2]))).asked += 1
        elif kind == "P":
            self.transactions[int(number)].answered += 1
        elif kind == "Z":
            self.poison.add((bytes.fromhex(number), int(words[2])))
        else:
            assert kind == "X", words
            self.refused[int(number)] += 1


class Page:
    """A page of memory that driver and nemesis share: counts so far, and the last click ids that were answered."""

    _COUNTS: Final = Struct("<5Q")
    _ID_BYTES: Final = 27
    _IDS: Final = 256
    _SIZE: Final = 8192

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        if create:
            path.write_bytes(bytes(self._SIZE))
        descriptor = os.open(path, os.O_RDWR)
        self._map = mmap.mmap(descriptor, self._SIZE)
        os.close(descriptor)

    def publish(self, asked: int, answered: int, in_flight: int, postbacks: int, broken: int) -> None:
        self._COUNTS.pack_into(self._map, 0, asked, answered, in_flight, postbacks, broken)

    def remember(self, answered: int, click_id: bytes) -> None:
        """The id of the `answered`-th answer, before it is published as such."""
        place = self._place(answered)
        self._map[place : place + self._ID_BYTES] = click_id

    def _place(self, answered: int) -> int:
        return 64 + answered % self._IDS * self._ID_BYTES

    def counts(self) -> tuple[int, int, int, int, int]:
        """Clicks asked and answered, requests in flight, postbacks answered, requests broken or refused."""
        asked, answered, in_flight, postbacks, broken = self._COUNTS.unpack_from(self._map, 0)
        return asked, answered, in_flight, postbacks, broken

    @property
    def answered(self) -> int:
        return self.counts()[1]

    @property
    def in_flight(self) -> int:
        return self.counts()[2]

    def last_ids(self, count: int) -> list[bytes]:
        """Up to `count` click ids, the newest last; `count` well below 256, so that none is being overwritten."""
        answered = self.answered
        places = (self._place(number) for number in range(max(1, answered - count + 1), answered + 1))
        return [bytes(self._map[place : place + self._ID_BYTES]) for place in places]
