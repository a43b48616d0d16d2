"""The stacks that push the same event to everybody: how each is started, subscribed to, and given an event."""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

from joserfc import jwt
from joserfc.jwk import OctKey

from bench.push_ours import Ours
from bench.push_programs import go_program, nginx_with_nchan
from bench.push_stack import Stack, serving
from cli.stack.ports import HOST, free_port

_ROOT: Final = Path(__file__).parents[1]
_TOPIC: Final = "bench"
_MERCURE_SECRET: Final = "a secret of the benchmark, of no value"


@dataclass(frozen=True)
class Peer:
    """One stack; entering ``start`` of a folder runs it.

    ``first`` is the number of its first event: ours has a version already when nothing has happened.
    """

    name: str  # for --only
    title: str
    start: Callable[[Path], AbstractContextManager[Stack]]
    first: int = 1


def _python(way: str) -> Callable[[Path], AbstractContextManager[Stack]]:
    @contextmanager
    def start(folder: Path) -> Iterator[Stack]:
        port = free_port()
        environment = {"BENCH_WAY": way, "BENCH_PORT": str(port), "PYTHONPATH": str(_ROOT)}
        command = [sys.executable, "-m", "bench.peers.broadcast_app"]
        with serving(folder, command, port, "/events", "/publish", environment=environment) as stack:
            yield stack

    return start


@contextmanager
def _nchan(folder: Path) -> Iterator[Stack]:
    program, module = nginx_with_nchan()
    port = free_port()
    temporary = "\n".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"""load_module {module};
{"user root;" if os.geteuid() == 0 else ""}
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}; }}
http {{
  access_log off;
  {temporary}
  server {{
    listen {HOST}:{port} backlog=4096;
    location = /pub {{ nchan_publisher; nchan_channel_id {_TOPIC}; }}
    location = /sub {{
      nchan_subscriber eventsource;
      nchan_channel_id {_TOPIC};
      nchan_subscriber_first_message newest;
    }}
  }}
}}
"""
    )
    command = [program, "-p", str(folder), "-c", str(configuration)]
    with serving(folder, command, port, "/sub", "/pub") as stack:
        yield stack


@contextmanager
def _mercure(folder: Path) -> Iterator[Stack]:
    program = go_program("mercure", "github.com/dunglas/mercure/caddy/mercure@latest")
    port = free_port()
    configuration = folder / "Caddyfile"
    configuration.write_text(
        f"""{{
  admin off
  auto_https off
}}
http://{HOST}:{port} {{
  mercure {{
    transport local
    publisher_jwt "{_MERCURE_SECRET}" HS256
    anonymous
  }}
}}
"""
    )
    key = OctKey.import_key(_MERCURE_SECRET)
    token = jwt.encode({"alg": "HS256"}, {"mercure": {"publish": ["*"]}}, key)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/x-www-form-urlencoded"}

    def form(data: bytes) -> bytes:
        return urlencode({"topic": _TOPIC, "type": "patch", "data": data.decode()}).encode()

    command = [program, "run", "--config", str(configuration), "--adapter", "caddyfile"]
    path = "/.well-known/mercure"
    home = {"HOME": str(folder)}
    subscribe = f"{path}?topic={_TOPIC}"
    with serving(
        folder, command, port, subscribe, path, body=form, headers=headers, environment=home
    ) as stack:
        yield stack


@contextmanager
def _centrifugo(folder: Path) -> Iterator[Stack]:
    program = go_program("centrifugo", "github.com/centrifugal/centrifugo/v6@latest")
    port = free_port()
    configuration = folder / "centrifugo.json"
    settings = {
        "http_server": {"address": HOST, "port": str(port)},
        "http_api": {"insecure": True},
        "client": {"insecure": True, "allow_anonymous_connect_without_token": True},
        "channel": {"without_namespace": {"allow_subscribe_for_client": True}},
        "uni_sse": {"enabled": True},
        "log": {"level": "error"},
    }
    configuration.write_text(json.dumps(settings))
    connect = quote(json.dumps({"subs": {_TOPIC: {}}}))

    def command_of(data: bytes) -> bytes:
        return b'{"channel":"%s","data":%s}' % (_TOPIC.encode(), data)

    headers = {"Content-Type": "application/json"}
    command = [program, "--config", str(configuration)]
    subscribe = f"/connection/uni_sse?cf_connect={connect}"
    with serving(folder, command, port, subscribe, "/api/publish", body=command_of, headers=headers) as stack:
        yield stack


@contextmanager
def _ours(folder: Path) -> Iterator[Stack]:
    with Ours(folder, schools=1) as ours:
        yield ours


OURS: Final = Peer("ours", "ours, complete: tokens, filters, merging", _ours, first=2)
PEERS: Final[tuple[Peer, ...]] = (
    OURS,
    Peer("sse-starlette", "sse-starlette, dicts as in its README", _python("dicts")),
    Peer("sse-starlette-bytes", "sse-starlette, encoded bytes", _python("bytes")),
    Peer("starlette", "Starlette StreamingResponse, encoded bytes", _python("plain")),
    Peer("nchan", "nginx and Nchan, one worker", _nchan),
    Peer("mercure", "Mercure", _mercure),
    Peer("centrifugo", "Centrifugo, one-way SSE", _centrifugo),
)
