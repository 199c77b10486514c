"""Covers where one answer ends and the next begins, for the open-loop client. Its timing: test_open_loop.py."""

import pytest

from benchmarks.framing import LARGEST_HEAD, Framing, Unframed

FOUND = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nlocation: https://shop.example/\r\n\r\n"
PAGE = b"HTTP/1.1 404 Not Found\r\ncontent-type: text/plain\r\ncontent-length:10\r\n\r\nNot\r\n\r\nnd\n"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
ALL = FOUND + PAGE + EMPTY + FOUND
STATUSES = [b"302", b"404", b"204", b"302"]


@pytest.mark.parametrize("cut", range(len(ALL) + 1))
def test_answers_are_found_wherever_the_bytes_were_cut(cut: int) -> None:
    framing = Framing()
    assert framing.feed(ALL[:cut]) + framing.feed(ALL[cut:]) == STATUSES


def test_answers_are_found_byte_by_byte() -> None:
    framing = Framing()
    assert [status for place in range(len(ALL)) for status in framing.feed(ALL[place : place + 1])] == STATUSES


def test_an_answer_is_complete_with_its_last_byte_and_not_before() -> None:
    framing = Framing()
    assert framing.feed(PAGE[:-1]) == []
    assert framing.feed(PAGE[-1:]) == [b"404"]


def test_the_length_of_the_next_answer_is_not_taken_for_this_ones() -> None:
    with pytest.raises(Unframed):
        Framing().feed(b"HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n" + FOUND)


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx-content-length: 3\r\n\r\nabc",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 abc Strange\r\ncontent-length: 0\r\n\r\n",
        b"x" * (LARGEST_HEAD + 1),
    ],
    ids=["chunked", "another header", "another protocol", "no status", "no end"],
)
def test_what_has_no_known_end_is_refused(sent: bytes) -> None:
    with pytest.raises(Unframed):
        Framing().feed(sent)
