"""The topic of events: read again from its beginning, and written to by a rogue in the wrong order."""

from typing import Final

from shared import topics
from shared.journal import FIRST_SEQ, StreamReader, streams
from tests.faults.chain import broker
from tests.faults.chain.broker import Sent
from tests.faults.chain.faults.processes import go_on, stop
from tests.faults.chain.health import until_answered
from tests.faults.chain.nemesis import HEALING_SECONDS, Scene
from tests.faults.chain.parts import INGESTS

_COPIES: Final = 400
_AHEAD: Final = 150


class TopicReplayed:
    """Ingest forgets how far it read: everything that the topic holds comes again."""

    name = "replay the topic"
    hold = (0.0, 1.0)

    async def inject(self, scene: Scene) -> None:
        assert scene.system.broker is not None
        await scene.aim()
        await scene.system.hold_down(*INGESTS)
        await broker.forget_progress(scene.system.broker.bootstrap)

    async def heal(self, scene: Scene) -> None:
        scene.system.release(*INGESTS)


class Reordered:
    """Messages come again in another order; and records that the shipper has not sent yet come before it sends them,
    the later ones first."""

    name = "reorder streams"
    hold = (0.0, 1.0)

    async def inject(self, scene: Scene) -> None:
        assert scene.system.broker is not None
        bootstrap = scene.system.broker.bootstrap
        await scene.aim()
        shipper = scene.system.family("shipper")
        stop(shipper)
        try:
            await until_answered(scene.page, _AHEAD, HEALING_SECONDS)
            sent = await broker.last_records(bootstrap, _COPIES)
            copies: list[Sent] = [(one.partition, one.key, one.value) for one in sent if _is_record(one.value)]
            ahead = self._not_sent_yet(scene, copies)
            for messages in (copies, ahead):
                assert messages, "there is nothing to bring out of order"
                scene.chance.shuffle(messages)
                await broker.send(bootstrap, messages)
        finally:
            go_on(shipper)

    def _not_sent_yet(self, scene: Scene, sent: list[Sent]) -> list[Sent]:
        """Records of the journal behind the last one in the topic, for streams that the topic knows."""
        last: dict[bytes, tuple[int, int]] = {}
        for partition, key, value in sent:
            assert key is not None
            assert value is not None
            message = topics.decode(value)
            assert isinstance(message, topics.Record)
            last[key] = (partition, max(message.seq, last.get(key, (0, FIRST_SEQ))[1]))
        found: list[Sent] = []
        for path in streams(scene.system.data_dir.journal):
            stream = bytes.fromhex(path.name)
            if stream not in last:
                continue
            partition, seq = last[stream]
            with StreamReader(path, seq + 1) as reader:
                for record in reader.read(2 * _AHEAD, 1 << 24).records:
                    found.append((partition, stream, topics.encode_record(*record)))
        return found

    async def heal(self, scene: Scene) -> None:
        """The shipper goes on already; what comes in order now are repeats."""


def _is_record(value: bytes | None) -> bool:
    return value is not None and isinstance(topics.decode(value), topics.Record)
