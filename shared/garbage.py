"""The collector of reference cycles, in processes that hold thousands of rows for as long as a batch lasts."""

import gc
from typing import Final

_YOUNG_OBJECTS: Final = 100_000


def collect_rarely() -> None:
    """Looks for cycles only when more objects came than a batch makes: rows have none, and looking through them while
    they wait costs up to a third of decoding them. What is there already is never looked through again."""
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)
