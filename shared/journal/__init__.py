"""Append-only streams of records on local disk: what an answer waits for, and what everything else is built from."""

from shared.journal.announced import read_announced
from shared.journal.claim import Claimed, claimed
from shared.journal.consumed import END, Mark, read_consumed, read_consumed_seq, write_consumed
from shared.journal.group import Done, JournalFailed, JournalFull, NotJournaled
from shared.journal.group_commit import GroupCommitWriter
from shared.journal.limits import NO_LIMITS, JournalLimits, free_bytes
from shared.journal.loss_page import read_losses
from shared.journal.meter import JournalMeter
from shared.journal.reader import Gap, ReadBatch, StreamReader
from shared.journal.record import FIRST_SEQ, MAX_PAYLOAD, PayloadRefused, Record, UnknownVersion
from shared.journal.retention import delete_consumed, delete_stillborn, kept_segments, trim
from shared.journal.shipped import Shipped, read_shipped, write_shipped
from shared.journal.stream import StreamListing, stream_id, streams
from shared.journal.tidier import Consumed, Marks, Tidied, Tidier
from shared.journal.write_through import WriteThroughWriter
from shared.journal.writer import Durability, JournalWriter

__all__ = [
    "END",
    "FIRST_SEQ",
    "MAX_PAYLOAD",
    "NO_LIMITS",
    "Claimed",
    "Consumed",
    "Done",
    "Durability",
    "Gap",
    "GroupCommitWriter",
    "JournalFailed",
    "JournalFull",
    "JournalLimits",
    "JournalMeter",
    "JournalWriter",
    "Mark",
    "Marks",
    "NotJournaled",
    "PayloadRefused",
    "ReadBatch",
    "Record",
    "Shipped",
    "StreamListing",
    "StreamReader",
    "Tidied",
    "Tidier",
    "UnknownVersion",
    "WriteThroughWriter",
    "claimed",
    "delete_consumed",
    "delete_stillborn",
    "free_bytes",
    "kept_segments",
    "read_announced",
    "read_consumed",
    "read_consumed_seq",
    "read_losses",
    "read_shipped",
    "stream_id",
    "streams",
    "trim",
    "write_consumed",
    "write_shipped",
]
