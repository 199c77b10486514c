"""What is waited for of Kafka, and for how long."""

from typing import Final

from aiokafka.errors import KafkaError

UNREACHABLE: Final = (KafkaError, OSError, TimeoutError)
REQUEST_TIMEOUT_MS: Final = 5_000
START_SECONDS: Final = 10.0
