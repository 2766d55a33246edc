"""`trtmatte serve`: pictures over HTTP, and cameras matted in a browser."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trtmatte.cli import values
from trtmatte.cli.process import complain, log
from trtmatte.cli.sessions import DEFAULT_MODEL, add_device_flags
from trtmatte.compiler.options import PRECISIONS
from trtmatte.errors import SettingError
from trtmatte.support import signals

if TYPE_CHECKING:
    from trtmatte.serve.settings import Settings

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_TOKEN: Final = "TRTMATTE_TOKEN"
_MIB: Final = 1 << 20
_MEGAPIXEL: Final = 1_000_000


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "serve",
        help="answer requests for cut-outs over HTTP, and matte cameras in a browser",
        description="Answer requests for cut-outs over HTTP, as rembg's server does, and matte cameras in a browser: "
        "open the address that is printed. Needs the extra serve: pip install 'trtmatte[serve]'.",
        allow_abbrev=False,
    )
    where = parser.add_argument_group("address")
    where.add_argument("--host", type=values.name, default="127.0.0.1", metavar="H", help=_HOST)
    where.add_argument("-p", "--port", type=values.whole(0, 65535), default=7000, metavar="N", help=_PORT)
    where.add_argument("--certfile", type=values.path, metavar="FILE", help="a certificate, for https (PEM)")
    where.add_argument("--keyfile", type=values.path, metavar="FILE", help="its key, if that is in another file")
    who = parser.add_argument_group("access")
    who.add_argument("--token", type=values.name, metavar="T", help=_TOKEN_HELP)
    who.add_argument("--allow-host", type=values.name, nargs="+", default=[], metavar="NAME", help=_ALLOW_HOST)
    who.add_argument("--allow-origin", type=values.name, nargs="+", default=[], metavar="SITE", help=_ALLOW_ORIGIN)
    who.add_argument("--allow-url", type=values.name, nargs="+", default=[], metavar="HOST", help=_ALLOW_URL)
    what = parser.add_argument_group("models")
    what.add_argument(
        "-m",
        "--model",
        type=values.name,
        default=None,
        metavar="MODEL",
        help=f"the usual model (default: {DEFAULT_MODEL})",
    )
    what.add_argument("--models", type=values.name, nargs="+", metavar="MODEL", help=_MODELS)
    add_device_flags(what)
    what.add_argument("--precision", choices=PRECISIONS, help="precision on a GPU (default: fp16)")
    what.add_argument("--batch", type=values.whole(1, 256), default=1, metavar="N", help=_BATCH)
    what.add_argument("--raw-foreground", action="store_true", help="keep the frame's own colours at soft edges")
    most = parser.add_argument_group("limits")
    most.add_argument("--streams", type=values.whole(0, 1024), default=8, metavar="N", help=_STREAMS)
    most.add_argument("--queue", type=values.whole(1, 65536), default=64, metavar="N", help=_QUEUE)
    most.add_argument("--max-memory", type=values.whole(1), metavar="MIB", help=_MEMORY)
    most.add_argument("--max-body", type=values.whole(1, 1 << 14), default=64, metavar="MIB", help=_BODY)
    most.add_argument("--max-pixels", type=values.number(0.01, 4096), default=67, metavar="MP", help=_PIXELS)
    most.add_argument("--timeout", type=values.number(0.1, 3600), default=60.0, metavar="S", help=_TIMEOUT)
    parser.add_argument("--quiet", action="store_true", help="print only warnings and errors")
    parser.set_defaults(run=run)


_HOST: Final = "the address to listen at; 0.0.0.0 is all of this machine's, and needs a token (default: 127.0.0.1)"
_PORT: Final = "the port; 0 takes a free one (default: 7000)"
_TOKEN_HELP: Final = (
    f"whoever asks must send it; the environment variable {_TOKEN} sets it without showing it to other users"
)
_ALLOW_HOST: Final = "further names under which the server is reached, such as those that a proxy passes on"
_ALLOW_ORIGIN: Final = "sites whose pages may use it, such as https://example.com"
_ALLOW_URL: Final = "hosts that pictures may be fetched from (GET /api/remove?url=…)"
_MODELS: Final = "the models that may be asked for: known names, model files, engines (default: all that are known)"
_BATCH: Final = "pictures that run through the network together, for GPUs (default: 1)"
_STREAMS: Final = "live streams at the same time, at most (default: 8)"
_QUEUE: Final = "pictures that may wait for each model; more are answered 429 (default: 64)"
_MEMORY: Final = "memory from which on the least used models leave (default: three quarters of the machine's)"
_BODY: Final = "the most that one request may send (default: 64)"
_PIXELS: Final = "megapixels of a picture or a frame, at most (default: 67)"
_TIMEOUT: Final = "seconds in which a request must have arrived (default: 60)"


def run(args: argparse.Namespace) -> int:
    """Return the exit status: 0 it was asked to end, 2 a flag is wrong."""
    log("trtmatte serve", logging.WARNING)
    settings = _settings(args)
    _require_token(args.host, settings.token)
    try:
        from trtmatte.serve.server import Server
    except ImportError as error:
        raise SettingError(f"trtmatte serve needs {error.name}: pip install 'trtmatte[serve]'") from error
    for name in ("uvicorn.error", "asyncio"):
        logging.getLogger(name).setLevel(logging.ERROR)
    server = Server(settings, host=args.host, port=args.port, certfile=args.certfile, keyfile=args.keyfile)
    if not args.quiet:
        complain("trtmatte serve", f"open {server.address} in a browser; Ctrl-C ends the server")
    with signals.stopping(server.stop):
        server.run()
    return 0


def _settings(args: argparse.Namespace) -> Settings:
    from trtmatte.serve.settings import Settings

    models = None
    if args.models is not None:
        models = {_name(each): each for each in args.models}
        if len(models) < len(args.models):
            raise SettingError(f"--models are {', '.join(args.models)}; expected different names")
    usual = args.model or (next(iter(models)) if models else DEFAULT_MODEL)
    if models is not None and _name(usual) not in models:
        models = {_name(usual): usual, **models}
    elif models is None and Path(usual).is_file():
        models = {_name(usual): usual}
    if args.keyfile is not None and args.certfile is None:
        raise SettingError("--keyfile is given without --certfile; give both")
    build = {} if args.precision is None else {"precision": args.precision}
    return Settings(
        model=_name(usual),
        models=models,
        batch=args.batch,
        options={"device": args.device, "backend": args.backend, "raw_foreground": args.raw_foreground},
        build=build,
        token=args.token or os.environ.get(_TOKEN) or None,
        hosts=tuple(each.lower() for each in args.allow_host),
        origins=tuple(each.rstrip("/") for each in args.allow_origin),
        urls=tuple(args.allow_url),
        waiting=args.queue,
        streams=args.streams,
        max_memory=None if args.max_memory is None else args.max_memory * _MIB,
        body_bytes=args.max_body * _MIB,
        pixels=round(args.max_pixels * _MEGAPIXEL),
        seconds=args.timeout,
    )


def _name(model: str) -> str:
    """The name by which a model is asked for: a file's own, without its folder and suffix."""
    path = Path(model)
    return path.stem if path.is_file() else model


def _require_token(host: str, token: str | None) -> None:
    if token is not None or host == "localhost":
        return
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise SettingError(
            f"--host is {host}, which others can reach; give a --token, or {_TOKEN} in the environment, that they must "
            "know"
        )
