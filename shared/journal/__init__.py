"""Append-only streams of records on local disk: what an answer waits for, and what everything else is built from."""

from shared.journal.group_commit import GroupCommitWriter
from shared.journal.reader import Gap, ReadBatch, StreamReader
from shared.journal.record import FIRST_SEQ, MAX_PAYLOAD, PayloadRefused, Record, UnknownVersion
from shared.journal.retention import delete_consumed, delete_stillborn
from shared.journal.stream import stream_id, streams
from shared.journal.write_through import WriteThroughWriter
from shared.journal.writer import Durability, JournalFailed, JournalWriter

__all__ = [
    "FIRST_SEQ",
    "MAX_PAYLOAD",
    "Durability",
    "Gap",
    "GroupCommitWriter",
    "JournalFailed",
    "JournalWriter",
    "PayloadRefused",
    "ReadBatch",
    "Record",
    "StreamReader",
    "UnknownVersion",
    "WriteThroughWriter",
    "delete_consumed",
    "delete_stillborn",
    "stream_id",
    "streams",
]
