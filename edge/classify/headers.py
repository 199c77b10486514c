"""What request headers say by themselves: whether a browser asks ahead of its user."""

_SPECULATIVE = frozenset({"prefetch", "prerender", "preview", "instant"})


def is_prefetch(sec_purpose: str = "", purpose: str = "", x_moz: str = "", x_purpose: str = "") -> bool:
    """Whether one of the four header values announces a prefetch, prerender or preview.

    `Sec-Purpose` is a structured field (`prefetch;prerender`, `prefetch;anonymous-client-ip`); the other three are
    what Chromium (`Purpose: prefetch`), Safari (`X-Purpose: preview`) and Firefox (`X-Moz: prefetch`) sent before.
    Names are compared without case; parameters, lists and blanks around them do not matter. Absent headers are "".
    """
    if not (sec_purpose or purpose or x_moz or x_purpose):
        return False
    return any(_is_speculative(value) for value in (sec_purpose, purpose, x_moz, x_purpose) if value)


def _is_speculative(value: str) -> bool:
    tokens = value.lower().replace(",", ";").split(";")
    return any(token.strip(" \t\"'") in _SPECULATIVE for token in tokens)
