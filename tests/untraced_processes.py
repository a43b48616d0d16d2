"""Imports everything of ours but what makes traces, and wires processes as without a collector: ``python tests/untraced_processes.py there``.

With ``missing`` instead of ``there`` OpenTelemetry is as good as not installed. Prints who imported it, and which of its parts are there.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType, SimpleNamespace
from typing import Any, Final

OURS: Final = ("schemas", "streams", "gateway", "consumers", "cli")
MAKE_TRACES: Final = (
    "schemas.process.spans",
    "streams.tracing",
    "gateway.tracing",
    "consumers.webhooks.tracing",
)


class Watch:
    """Asked before any other finder; notes which package outside OpenTelemetry wants it, and may say that it is not there."""

    def __init__(self, missing: bool) -> None:
        self.importers: set[str] = set()
        self._missing = missing

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] == "opentelemetry":
            self.importers.add(_importer(sys._getframe(1)))
            if self._missing:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def _importer(frame: FrameType | None) -> str:
    while frame is not None and "importlib" in frame.f_code.co_filename:
        frame = frame.f_back
    return "" if frame is None else str(frame.f_globals["__name__"])


def _all_modules() -> list[str]:
    found = []
    for package in OURS:
        folder = importlib.import_module(package).__path__
        found += [module.name for module in pkgutil.walk_packages(folder, f"{package}.")]
    return [name for name in found if name not in MAKE_TRACES]


def main(installed: str) -> None:
    """Import, wire, and say what came of it."""
    watch = Watch(missing=installed == "missing")
    sys.meta_path.insert(0, watch)
    for name in _all_modules():
        importlib.import_module(name)

    from consumers.webhooks import __main__ as webhooks
    from gateway.trace_wiring import gateway_tracing
    from schemas.environment import Environment
    from schemas.tracing import TracingSettings
    from streams import __main__ as streams

    tracing = TracingSettings.read(Environment({}))
    settings: Any = SimpleNamespace(tracing=tracing)
    sender: Any = object()
    gateway_tracing(tracing).stop()
    streams._traced(settings)[1]()
    webhooks._traced(sender, settings)[1]()
    print(
        json.dumps(
            {
                "importers": sorted({name.partition(".")[0] for name in watch.importers} - {"opentelemetry"}),
                "making traces": [name for name in MAKE_TRACES if name in sys.modules],
                "sending": sorted(name for name in sys.modules if name.startswith("opentelemetry.exporter")),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
