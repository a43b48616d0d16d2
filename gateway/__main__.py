"""``python -m gateway``: one gateway, until it is told to stop.

Exit status: 0 after SIGTERM or SIGINT, 1 after a fault, 2 for wrong settings or an address in use.
"""

from __future__ import annotations

import gc
import logging
import os
import sys

from gateway.app import create_app
from gateway.server import Server, configure, listening_socket
from gateway.settings import Settings
from schemas.errors import InvalidInput
from schemas.logs import configure_logging

logger = logging.getLogger("gateway")


def main() -> int:
    """Run a gateway; returns the exit status."""
    try:
        settings = Settings.from_env(os.environ)
        app = create_app(settings)
        listener = listening_socket(
            settings.host,
            settings.port,
            unconfirmed_seconds=3 * settings.streams.send_timeout_seconds,
        )
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    configure_logging(settings.log_format)
    config = configure(app, trusted_proxies=settings.trusted_proxies)
    server = Server(config, app.state.gateway.drain)
    # What is here stays; and what connections are made of lives long, so looking through it often finds nothing.
    gc.freeze()
    gc.set_threshold(10_000, 20, 100)
    logger.info("started address=http://%s:%d", settings.host, settings.port)
    server.run(sockets=[listener])
    logger.info("stopped")
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
