"""What a disk, a file system or a hand can do to a file, as hypothesis strategies."""

from dataclasses import dataclass
from typing import Literal

from hypothesis import strategies as st

from shared.journal.record import MAGIC

Way = Literal["flip", "zero", "overwrite", "copy over", "truncate", "insert", "delete", "duplicate"]
WAYS: tuple[Way, ...] = ("flip", "zero", "overwrite", "copy over", "truncate", "insert", "delete", "duplicate")


@dataclass(frozen=True)
class Mutation:
    """`start` and `target` are taken modulo the length, `length` as far as the buffer goes."""

    way: Way
    start: int
    length: int
    target: int
    noise: bytes

    def apply(self, buffer: bytes) -> bytes:
        if not buffer:
            return buffer
        start, target = self.start % len(buffer), self.target % len(buffer)
        end = min(start + self.length, len(buffer))
        before, touched, after = buffer[:start], buffer[start:end], buffer[end:]
        match self.way:
            case "flip":
                return before + bytes([buffer[start] ^ (1 << self.target % 8)]) + buffer[start + 1 :]
            case "zero":
                return before + bytes(len(touched)) + after
            case "overwrite":
                return before + self.noise + buffer[start + len(self.noise) :]
            case "copy over":
                return buffer[:target] + touched + buffer[target + len(touched) :]
            case "truncate":
                return before
            case "insert":
                return before + self.noise + buffer[start:]
            case "delete":
                return before + after
            case "duplicate":
                return buffer[:target] + touched + buffer[target:]


_noise = st.binary(max_size=80) | st.binary(max_size=8).map(lambda b: b + MAGIC + b)
mutations = st.lists(
    st.builds(Mutation, st.sampled_from(WAYS), st.integers(0, 6000), st.integers(1, 400), st.integers(0, 6000), _noise),
    min_size=1,
    max_size=6,
)
_payloads = st.binary(max_size=150).filter(lambda p: MAGIC not in p) | st.text(max_size=60).map(
    lambda text: ('{"q":"' + text + '"}').encode("utf-8", "surrogatepass")
)
payload_lists = st.lists(_payloads, min_size=1, max_size=40)
