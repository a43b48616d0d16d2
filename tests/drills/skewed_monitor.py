"""A monitor whose clock is wrong by DRILL_SKEW_SECONDS: ``python tests/drills/skewed_monitor.py``."""

from __future__ import annotations

import asyncio
import os

from prometheus_client import CollectorRegistry, start_http_server

from consumers.lag.__main__ import run, wall_ms
from consumers.lag.metrics import MonitorMetrics
from consumers.lag.settings import Settings

if __name__ == "__main__":
    settings = Settings.from_env(os.environ)
    skew_ms = round(float(os.environ["DRILL_SKEW_SECONDS"]) * 1000)
    registry = CollectorRegistry()
    metrics = MonitorMetrics(registry)
    start_http_server(settings.metrics_port, registry=registry)
    asyncio.run(run(settings, metrics, now_ms=lambda: wall_ms() + skew_ms))
