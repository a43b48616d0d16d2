"""The mock cluster inside librdkafka, reached through ctypes.

librdkafka calls it experimental, so every function is looked up by name, and a missing one is reported by name.
"""

from __future__ import annotations

import ctypes
from ctypes import c_char_p, c_int, c_int16, c_int32, c_int64, c_size_t, c_void_p
from typing import Any, Final

import confluent_kafka
from confluent_kafka import cimpl

from schemas.errors import InvalidInput

_ERROR: Final = c_int  # rd_kafka_resp_err_t; 0 is success
_CLUSTER: Final = c_void_p

_SIGNATURES: Final[dict[str, tuple[Any, list[Any]]]] = {
    "rd_kafka_conf_new": (c_void_p, []),
    "rd_kafka_conf_set": (c_int, [c_void_p, c_char_p, c_char_p, c_char_p, c_size_t]),
    "rd_kafka_new": (c_void_p, [c_int, c_void_p, c_char_p, c_size_t]),
    "rd_kafka_destroy": (None, [c_void_p]),
    "rd_kafka_err2str": (c_char_p, [_ERROR]),
    "rd_kafka_mock_cluster_new": (_CLUSTER, [c_void_p, c_int]),
    "rd_kafka_mock_cluster_destroy": (None, [_CLUSTER]),
    "rd_kafka_mock_cluster_bootstraps": (c_char_p, [_CLUSTER]),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [_CLUSTER, c_int32]),
    "rd_kafka_mock_topic_create": (_ERROR, [_CLUSTER, c_char_p, c_int, c_int]),
    "rd_kafka_mock_topic_delete": (_ERROR, [_CLUSTER, c_char_p]),
    "rd_kafka_mock_push_request_errors_array": (None, [_CLUSTER, c_int16, c_size_t, ctypes.POINTER(c_int)]),
    "rd_kafka_mock_clear_request_errors": (None, [_CLUSTER, c_int16]),
    "rd_kafka_mock_broker_set_down": (_ERROR, [_CLUSTER, c_int32]),
    "rd_kafka_mock_broker_set_up": (_ERROR, [_CLUSTER, c_int32]),
    "rd_kafka_mock_broker_set_rtt": (_ERROR, [_CLUSTER, c_int32, c_int]),
    "rd_kafka_mock_coordinator_set": (_ERROR, [_CLUSTER, c_char_p, c_char_p, c_int32]),
    "rd_kafka_mock_partition_set_leader": (_ERROR, [_CLUSTER, c_char_p, c_int32, c_int32]),
    "rd_kafka_mock_partition_delete_records": (_ERROR, [_CLUSTER, c_char_p, c_int32, c_int64]),
}


class MockLibrary:
    """Calls librdkafka's functions by name, with their C types; the GIL is released during each call."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def call(self, name: str, *arguments: object) -> Any:
        """Call ``name`` and return what C returns.

        Raises:
            InvalidInput: this librdkafka has no such function.
        """
        if not hasattr(self._library, name):
            raise InvalidInput(
                f"{name} is missing from librdkafka {confluent_kafka.libversion()[0]} (confluent-kafka "
                f"{confluent_kafka.__version__}); install confluent-kafka 2.16.1 or newer from its wheel, or use "
                "another Kafka: --kafka=local or --kafka=HOST:PORT."
            )
        function = getattr(self._library, name)
        function.restype, function.argtypes = _SIGNATURES[name]
        return function(*arguments)

    def check(self, name: str, *arguments: object) -> None:
        """Call ``name``, which returns an error code.

        Raises:
            InvalidInput: the code is not 0.
        """
        code = self.call(name, *arguments)
        if code != 0:
            reason = self.call("rd_kafka_err2str", code).decode()
            shown = ", ".join(repr(argument) for argument in arguments[1:])
            raise InvalidInput(f"{name}({shown}) was refused: {reason}.")


def load() -> MockLibrary:
    """The very librdkafka that confluent-kafka runs on, wherever its wheel or a package manager put it.

    Symbols are looked up through the extension module, which on Linux and macOS searches the libraries it is linked to.
    """
    return MockLibrary(ctypes.CDLL(cimpl.__file__))
