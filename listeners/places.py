"""Where to start in each partition, and what is no longer there to start from.

Our own record of what is stored overrules the broker's committed offsets: a store that went
back to an older copy reads again what it lacks. A broker keeps messages for some days only;
what it deleted before we came back cannot be read any more, and that has to be said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from confluent_kafka import OFFSET_END, Consumer, TopicPartition

__all__ = ["LOOKUP_S", "Gap", "Offsets", "go_back", "missing"]

Offsets = Mapping[tuple[str, int], int]
"""(topic, partition) -> offset of the next message wanted."""

LOOKUP_S = 10.0
"""How long a broker may take to answer a question about offsets."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A place in a partition that the broker cannot serve."""

    topic: str
    partition: int
    wanted: int
    """Next offset by our own record."""
    first: int
    """Earliest offset that the broker keeps."""
    end: int
    """Offset of the broker's next message."""

    @property
    def is_reset(self) -> bool:
        """Our record is ahead of the broker: its offsets were counted anew."""
        return self.wanted > self.end

    @property
    def missed(self) -> int:
        """Number of offsets that were deleted before we read them."""
        return max(0, self.first - self.wanted)

    def __str__(self) -> str:
        place = f"{self.topic}[{self.partition}]"
        if self.is_reset:
            return (
                f"{place}: our record is at offset {self.wanted}, the broker's end is "
                f"{self.end}: it was set up anew, and what it sends looks like repeats; "
                "give the connection a new broker name"
            )
        return (
            f"{place}: the broker no longer keeps {self.missed} messages after our last one "
            f"(offsets {self.wanted} to {self.first - 1}); going on from {self.first}"
        )


def missing(
    consumer: Consumer, partitions: Sequence[TopicPartition], own: Offsets
) -> Iterator[Gap]:
    """The gaps between our own record and what the broker keeps.

    Parameters
    ----------
    partitions
        What was assigned.
    own
        Our own record; partitions without one have no gap.

    Raises
    ------
    KafkaException
        The broker did not answer.
    """
    for partition in partitions:
        wanted = own.get((partition.topic, partition.partition))
        if wanted is None:
            continue
        place = TopicPartition(partition.topic, partition.partition)
        watermarks = consumer.get_watermark_offsets(place, timeout=LOOKUP_S, cached=False)
        if watermarks is None:
            continue
        first, end = watermarks
        if not first <= wanted <= end:
            yield Gap(partition.topic, partition.partition, wanted, first, end)


def go_back(consumer: Consumer, partitions: Sequence[TopicPartition], since: datetime) -> None:
    """Start ``partitions`` at a time, unless what is stored or committed is earlier still.

    Raises
    ------
    KafkaException
        The broker did not answer.
    """
    if not partitions:
        return
    milliseconds = int(since.timestamp() * 1000)
    asked = [TopicPartition(p.topic, p.partition, milliseconds) for p in partitions]
    committed = consumer.committed(
        [TopicPartition(p.topic, p.partition) for p in partitions], timeout=LOOKUP_S
    )
    found = consumer.offsets_for_times(asked, timeout=LOOKUP_S)
    for partition, at_time, known in zip(partitions, found, committed, strict=True):
        resume = partition.offset if partition.offset >= 0 else known.offset
        partition.offset = _earlier(at_time.offset, resume)


def _earlier(at_time: int, resume: int) -> int:
    """The earlier of an offset found by time (END: nothing after it) and the known place."""
    if resume < 0:  # OFFSET_INVALID: nothing is known
        return at_time if at_time >= 0 else OFFSET_END
    return min(at_time, resume) if at_time >= 0 else resume
