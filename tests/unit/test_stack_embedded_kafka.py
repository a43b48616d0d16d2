"""The embedded Kafka before it runs: what librdkafka must offer, and what is refused."""

from __future__ import annotations

import ctypes
from importlib.metadata import version

import confluent_kafka
import pytest

from cli.stack import mock_library
from cli.stack.embedded_kafka import EmbeddedKafka
from cli.stack.mock_library import MockLibrary
from schemas.errors import InvalidInput


@pytest.mark.parametrize("name", sorted(mock_library._SIGNATURES))
def test_the_installed_librdkafka_has_every_function_that_we_call(name: str) -> None:
    assert hasattr(ctypes.CDLL(confluent_kafka.cimpl.__file__), name)


def test_a_missing_function_is_named_with_the_version_that_lacks_it() -> None:
    without_kafka = MockLibrary(ctypes.CDLL(None))
    with pytest.raises(InvalidInput) as caught:
        without_kafka.call("rd_kafka_mock_topic_delete", None, b"t")
    assert "rd_kafka_mock_topic_delete is missing" in str(caught.value)
    assert version("confluent-kafka") in str(caught.value)
    assert "--kafka=local" in str(caught.value)


def test_a_topic_without_partitions_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'exam-results' with 0 partitions"):
        EmbeddedKafka({"exam-results": 0})


def test_a_cluster_without_brokers_is_refused() -> None:
    with pytest.raises(InvalidInput, match="0 brokers"):
        EmbeddedKafka({}, brokers=0)


def test_the_address_of_a_broker_that_does_not_run_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="start it first"):
        _ = EmbeddedKafka({"exam-results": 1}).bootstrap_servers


def test_its_limits_are_said() -> None:
    assert "nothing on disk" in EmbeddedKafka.limits
    assert "5 MiB or 100,000 messages" in EmbeddedKafka.limits
