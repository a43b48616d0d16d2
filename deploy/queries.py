"""PromQL that panels have in common: each gives expressions with the names of their series."""

from __future__ import annotations


def quantiles(histogram: str, label: str = "", selector: str = "") -> tuple[tuple[str, str], ...]:
    """Median and 99th percentile over five minutes, by a label if one is named."""
    by = f"le, {label}" if label else "le"
    name = f"{{{{{label}}}}} " if label else ""
    return tuple(
        (
            f"histogram_quantile({quantile}, sum by ({by}) (rate({histogram}_bucket{selector}[5m])))",
            f"{name}{shown}",
        )
        for quantile, shown in (("0.5", "median"), ("0.99", "99%"))
    )


def rate(counter: str, label: str = "", selector: str = "") -> tuple[tuple[str, str], ...]:
    """Per second over the last minute or so, of all processes together, by a label if one is named."""
    if label:
        legend = f"{{{{{label}}}}}"
        return ((f"sum by ({label}) (rate({counter}{selector}[$__rate_interval]))", legend),)
    return ((f"sum(rate({counter}{selector}[$__rate_interval]))", counter.removesuffix("_total")),)
