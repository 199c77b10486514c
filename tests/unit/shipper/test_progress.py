"""Covers the shipper's decisions: what is remembered of acknowledgements, and when a stream goes back. Everything
together, against a model of log and ingest: `test_model`. With a real broker: tests/integration/shipper."""

import pytest

from edge.shipper.progress import (
    FIRST_REST_SECONDS,
    LOG_LOST,
    LONGEST_REST_SECONDS,
    PASSED_OVER,
    PATIENCE,
    TOPIC_GONE,
    GoneBack,
    PartitionProgress,
    Piece,
)
from edge.shipper.runs import MOST_RUNS, Run, Runs
from shared.journal import Shipped
from shared.topics import Consumed

A, B = b"a" * 16, b"b" * 16


def partition(*streams: bytes) -> PartitionProgress:
    progress = PartitionProgress()
    for stream in streams:
        progress.join(stream, 1)
    return progress


def ack(progress: PartitionProgress, base: int, *pieces: tuple[bytes, int, int]) -> list[GoneBack]:
    """Records only, in the order given."""
    places, place = [], -1
    for stream, first, last in pieces:
        place += last - first + 1
        places.append(Piece(stream, first, last, place))
    return progress.acked(base, place + 1, places)


def said(next_seq: int, offset: int) -> Consumed:
    return Consumed(next_seq, 0, offset)


class TestRuns:
    def test_every_record_of_a_run_has_its_own_bound(self) -> None:
        runs = Runs(None)
        runs.append(Run(1, 10, 109))
        runs.append(Run(11, 20, 119))
        assert (len(runs), runs.bound(1), runs.bound(20)) == (1, 100, 119)

    def test_a_gap_is_one_message_for_many_seqs(self) -> None:
        runs = Runs(None)
        for run in (Run(1, 10, 9), Run(11, 1000, 10, flat=True), Run(1001, 1001, 11)):
            runs.append(run)
        assert [runs.bound(seq) for seq in (1, 10, 11, 1000, 1001)] == [0, 9, 10, 10, 11]

    def test_memory_is_bounded_and_bounds_only_get_coarser(self) -> None:
        runs = Runs(None)
        places = {}
        offset = 0
        for seq in range(1, 20_000):
            offset += 2 + seq % 3
            places[seq] = offset
            runs.append(Run(seq, seq, offset, flat=seq % 7 == 0))
            assert len(runs) <= MOST_RUNS
        for seq, at in places.items():
            bound = runs.bound(seq)
            assert bound is not None
            assert at <= bound <= offset

    def test_what_is_dropped_leaves_one_bound(self) -> None:
        runs = Runs(5)
        runs.append(Run(1, 10, 109))
        runs.append(Run(11, 20, 219))
        runs.drop_below(15)
        assert (runs.bound(3), runs.bound(14), runs.bound(15), runs.last_bound) == (213, 213, 214, 219)
        runs.drop_from(17)
        assert (runs.bound(16), runs.last_bound) == (215, 215)
        runs.drop_from(15)
        assert (len(runs), runs.last_bound) == (0, 213)


class TestAcknowledgements:
    def test_what_is_acknowledged_is_not_sent_again(self) -> None:
        progress = partition(A, B)
        assert ack(progress, 0, (A, 1, 10), (B, 1, 5)) == []
        assert [progress.streams[stream].next_seq for stream in (A, B)] == [11, 6]
        assert (progress.end_offset(A), progress.end_offset(B)) == (10, 15)

    def test_an_acknowledgement_from_before_going_back_says_nothing(self) -> None:
        progress = partition(A)
        ack(progress, 0, (A, 1, 10))
        progress.said(A, said(4, 10), now=0)
        ack(progress, 10, (A, 11, 20))
        assert progress.streams[A].next_seq == 4

    def test_what_was_stored_meanwhile_is_taken_from_an_acknowledgement(self) -> None:
        progress = partition(A)
        progress.said(A, said(6, 0), now=0)  # from another partition, or another life
        ack(progress, 0, (A, 1, 10))
        assert progress.streams[A].next_seq == 11
        assert progress.streams[A].runs.bound(6) == 5


class TestEvidence:
    def test_a_record_that_was_passed_over_is_sent_again(self) -> None:
        progress = partition(A)
        ack(progress, 0, (A, 1, 10))
        assert progress.said(A, said(4, 4), now=0) == GoneBack(A, PASSED_OVER, 4, 7)
        assert progress.streams[A].next_seq == 4

    @pytest.mark.parametrize("read_to", [0, 2, 3])
    def test_what_is_not_read_yet_is_not_passed_over(self, read_to: int) -> None:
        progress = partition(A)
        ack(progress, 0, (A, 1, 10))
        assert progress.said(A, said(4, read_to), now=0) is None
        assert progress.streams[A].next_seq == 11

    def test_no_word_is_no_evidence_however_often_it_comes(self) -> None:
        progress = partition(A)
        ack(progress, 0, (A, 1, 10))
        for second in range(10_000):
            assert progress.said(A, said(4, 3), now=second) is None
            assert progress.log_end(10, progress.question(), now=second) == []

    def test_what_ingest_has_is_not_sent_at_all(self) -> None:
        progress = partition(A)
        ack(progress, 0, (B, 1, 100))
        assert progress.said(A, said(51, 80), now=0) is None
        assert progress.streams[A].next_seq == 51

    def test_a_position_that_went_back_is_followed(self) -> None:
        progress = partition(A)
        ack(progress, 0, (A, 1, 10))
        progress.said(A, said(11, 10), now=0)
        assert progress.said(A, said(5, 10), now=0) == GoneBack(A, PASSED_OVER, 5, 6)

    def test_an_older_word_that_comes_late_is_no_position_that_went_back(self) -> None:
        progress = partition(A)
        ack(progress, 0, (A, 1, 10))
        progress.said(A, said(11, 10), now=0)
        assert progress.said(A, said(5, 4), now=0) is None
        assert progress.streams[A].consumed == 11

    def test_what_ingest_read_beyond_what_we_know_waits_for_the_end(self) -> None:
        """Another shipper may have written that, or it was another log."""
        progress = partition(A)
        ack(progress, 0, (A, 1, 10))
        early = progress.question()
        assert progress.said(A, said(4, 50), now=0) is None
        assert progress.log_end(10, early, now=0) == []
        assert progress.log_end(60, progress.question(), now=0) == [GoneBack(A, PASSED_OVER, 4, 7)]

    def test_what_was_said_of_a_log_that_is_gone_is_no_evidence(self) -> None:
        progress = partition(A)
        ack(progress, 0, (A, 1, 10))
        progress.said(A, said(4, 5_000), now=0)
        assert progress.log_end(10, progress.question(), now=0) == []
        ack(progress, 10, (A, 11, 6_000))
        assert progress.log_end(6_000, progress.question(), now=0) == []
        assert progress.streams[A].next_seq == 6_001

    def test_ingest_that_can_never_take_a_record_does_not_make_the_log_grow_without_end(self) -> None:
        progress = partition(A)
        ack(progress, 0, (A, 1, 10))
        offset, now, times = 10, 0.0, []
        while now < 600:
            if progress.said(A, said(4, offset), now):
                times.append(now)
                ack(progress, offset, (A, 4, 10))
                offset += 7
            now += 1.0
        assert times[:PATIENCE] == [0, 1, 2]
        assert times[PATIENCE] - times[PATIENCE - 1] == FIRST_REST_SECONDS
        assert len(times) < 600 / LONGEST_REST_SECONDS + 10


class TestLostLogs:
    def test_a_log_that_ends_below_what_it_acknowledged_was_lost(self) -> None:
        progress = partition(A, B)
        ack(progress, 0, (A, 1, 10), (B, 1, 10))
        progress.said(A, said(6, 5), now=0)
        lost = progress.log_end(19, progress.question(), now=0)
        assert lost == [GoneBack(A, LOG_LOST, 6, 5), GoneBack(B, LOG_LOST, 1, 10)]

    def test_an_end_that_was_asked_for_before_an_acknowledgement_says_nothing(self) -> None:
        progress = partition(A)
        ack(progress, 0, (A, 1, 10))
        question = progress.question()
        ack(progress, 10, (A, 11, 20))
        assert progress.log_end(10, question, now=0) == []

    def test_an_acknowledgement_below_an_earlier_one_shows_a_lost_log(self) -> None:
        progress = partition(A)
        ack(progress, 100, (A, 1, 10))
        assert ack(progress, 50, (A, 11, 20)) == [GoneBack(A, LOG_LOST, 1, 10)]
        assert progress.generation == 1
        assert ack(progress, 60, (A, 1, 20)) == []

    def test_a_topic_that_was_made_anew_has_nothing(self) -> None:
        progress = partition(A, B)
        ack(progress, 0, (A, 1, 10))
        assert progress.lost(TOPIC_GONE) == [GoneBack(A, TOPIC_GONE, 1, 10)]
        assert ack(progress, 0, (A, 1, 10)) == []

    def test_an_answer_about_the_former_log_says_nothing_about_the_new_one(self) -> None:
        progress = partition(A)
        ack(progress, 0, (A, 1, 10))
        question = progress.question()
        progress.lost(TOPIC_GONE)
        ack(progress, 0, (A, 1, 5))
        assert progress.log_end(0, question, now=0) == []
        assert progress.streams[A].next_seq == 6


class TestRestarts:
    def test_a_new_life_goes_on_where_the_last_one_was(self) -> None:
        progress = PartitionProgress()
        progress.join(A, 3, Shipped(0, 11, 40))
        assert (progress.streams[A].next_seq, progress.end_offset(A)) == (11, 40)
        assert progress.log_end(40, progress.question(), now=0) == []
        assert progress.said(A, said(3, 39), now=0) is None
        assert progress.said(A, said(3, 40), now=0) == GoneBack(A, PASSED_OVER, 3, 8)

    def test_a_log_that_was_lost_in_between_is_noticed(self) -> None:
        progress = PartitionProgress()
        progress.join(A, 3, Shipped(0, 11, 40))
        assert progress.log_end(39, progress.question(), now=0) == [GoneBack(A, LOG_LOST, 3, 8)]

    def test_without_a_memory_it_begins_at_what_is_consumed(self) -> None:
        progress = PartitionProgress()
        progress.join(A, 7)
        assert progress.streams[A].next_seq == 7
        assert progress.said(A, said(3, 9), now=0) is None
        assert progress.log_end(10, progress.question(), now=0) == []
        assert progress.said(A, said(3, 9), now=0) is None, "said of what an earlier life may have sent later"
        assert progress.log_end(12, progress.question(), now=0) == []
        assert progress.said(A, said(3, 12), now=0) == GoneBack(A, PASSED_OVER, 3, 4)

    def test_a_memory_behind_what_is_consumed_is_none(self) -> None:
        progress = PartitionProgress()
        progress.join(A, 20, Shipped(0, 11, 40))
        assert progress.streams[A].next_seq == 20
