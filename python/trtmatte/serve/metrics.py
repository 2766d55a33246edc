"""The counters of a server, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from trtmatte.serve.shelf import Shelf

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_REQUESTS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_FRAMES: Final = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.2, 0.5, 1)


class Metrics:
    """The counters of one server."""

    def __init__(self, shelf: Shelf) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_OfModels(shelf))
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "trtmatte_requests", "Requests by path and status", ("path", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "trtmatte_request_seconds",
            "Seconds from a request to its answer",
            ("path",),
            registry=self._registry,
            buckets=_REQUESTS,
        )
        self.frames = Counter("trtmatte_frames", "Frames of live streams that were matted", registry=self._registry)
        self.dropped = Counter(
            "trtmatte_frames_dropped", "Frames of live streams that gave way to newer ones", registry=self._registry
        )
        self.frame_seconds = Histogram(
            "trtmatte_frame_seconds",
            "Seconds from a frame's arrival to its answer",
            registry=self._registry,
            buckets=_FRAMES,
        )

    def count(self, path: str, status: int, seconds: float) -> None:
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def text(self) -> bytes:
        return generate_latest(self._registry)


class _OfModels(Collector):
    """The work that models have under way, at the moment of the question."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def collect(self) -> Iterable[Metric]:
        waiting = GaugeMetricFamily("trtmatte_pictures_waiting", "Pictures that wait or are at work", labels=("model",))
        streams = GaugeMetricFamily("trtmatte_streams", "Live streams", labels=("model",))
        seconds = GaugeMetricFamily(
            "trtmatte_picture_seconds", "Mean seconds that a picture takes its model", labels=("model",)
        )
        for model in self._shelf.loaded:
            waiting.add_metric((model.name,), len(model.pictures))
            streams.add_metric((model.name,), model.streams)
            seconds.add_metric((model.name,), model.pictures.seconds)
        return waiting, streams, seconds
