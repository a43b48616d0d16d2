"""Two metrics that every process has: what runs, and since when."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Gauge


def tell_of_process(registry: CollectorRegistry) -> None:
    """Add them to the process's registry, once."""
    started = Gauge(
        "scores_started_timestamp_seconds",
        "When this process started; changes often when a supervisor restarts it in a loop",
        registry=registry,
    )
    started.set_to_current_time()
    build = Gauge("scores_build_info", "What is running", ["version"], registry=registry)
    build.labels(running_version()).set(1)


def running_version() -> str:
    """The version that is installed."""
    try:
        return version("score-streaming")
    except PackageNotFoundError:
        return "unknown"
