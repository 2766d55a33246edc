"""trtmatte on Ray Serve: replicas that share GPUs, or the cores of a machine without one.

    pip install 'trtmatte[cpu,serve]' 'ray[serve]'
    serve run examples.ray_serve:service                 # one replica on the CPU
    serve run examples.ray_serve:service gpu=0.25 replicas=4 model=u2net

The paths are those of `trtmatte serve` (docs/serve.md): curl -F file=@photo.jpg http://127.0.0.1:8000/api/remove
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from ray import serve

from trtmatte.serve.settings import Settings
from trtmatte.serve.site import site


def service(arguments: dict[str, Any]) -> Any:
    """The application. `gpu` is the part of a GPU that each replica gets, `token` what clients must know."""
    gpu = float(arguments.get("gpu", 0))
    settings = Settings(
        model=str(arguments.get("model", "rvm-mobilenetv3")),
        token=arguments.get("token"),
        hosts=tuple(filter(None, [arguments.get("host")])),
        options={"device": "cuda" if gpu else "cpu"},
    )
    entrance = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @serve.deployment(
        num_replicas=int(arguments.get("replicas", 1)),
        max_ongoing_requests=settings.waiting,
        ray_actor_options={"num_gpus": gpu, "num_cpus": 1},
        health_check_period_s=10,
    )
    @serve.ingress(entrance)
    class Replica:
        def __init__(self) -> None:
            application = site(settings)
            entrance.mount("/", application)
            self._site = application.state.site
            self._site.warm_up()

        def __del__(self) -> None:
            self._site.close()

    replica: Any = Replica
    return replica.bind()
