"""trtmatte on Ray Serve: replicas that share GPUs, or the cores of a machine without one.

    pip install 'trtmatte[cpu,serve]' 'ray[serve]'
    serve run examples.ray_serve:service                 # one replica on the CPU
    serve run examples.ray_serve:service gpu=0.25 replicas=4 model=u2net

The paths are those of `trtmatte serve` (docs/serve.md): curl -F file=@photo.jpg http://127.0.0.1:8000/api/remove
"""

from __future__ import annotations

import asyncio
from typing import Any

from ray import serve
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from trtmatte.serve.settings import Settings
from trtmatte.serve.site import site


class Entrance:
    """The site of a replica, made there: models do not travel. It begins and ends with the replica."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._site: Starlette | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._site is None:
            self._site = site(self._settings)
            await asyncio.to_thread(self._site.state.site.warm_up)
        await self._site(scope, receive, send)


def service(arguments: dict[str, Any]) -> Any:
    """The application. `gpu` is the part of a GPU that each replica gets, `token` what clients must know."""
    gpu = float(arguments.get("gpu", 0))
    settings = Settings(
        model=str(arguments.get("model", "rvm-mobilenetv3")),
        token=arguments.get("token"),
        hosts=tuple(filter(None, [arguments.get("host")])),
        options={"device": "cuda" if gpu else "cpu"},
    )

    class Replica:
        pass

    deployment: Any = serve.deployment(
        num_replicas=int(arguments.get("replicas", 1)),
        max_ongoing_requests=settings.waiting,
        ray_actor_options={"num_gpus": gpu, "num_cpus": 0 if gpu else 1},
    )
    return deployment(serve.ingress(Entrance(settings))(Replica)).bind()
