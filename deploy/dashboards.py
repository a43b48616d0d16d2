"""The dashboards of ``deploy/grafana``, as a program: ``python -m deploy.dashboards`` writes them.

Edit ``deploy/boards``, not what is in Grafana. A test compares what is in the folder with what this makes, and every metric
with those that our processes have.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.boards.gateways import GATEWAYS
from deploy.boards.overview import OVERVIEW
from deploy.boards.publishing import PUBLISHING
from deploy.boards.readers import READERS
from deploy.panels import built

FOLDER: Final = Path(__file__).parent / "grafana"

BOARDS: Final = (OVERVIEW, READERS, GATEWAYS, PUBLISHING)


def made() -> dict[str, str]:
    """Each file's name and content."""
    return {
        f"{board.name}.json": json.dumps(built(board), cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"
        for board in BOARDS
    }


def main() -> None:
    """Write them."""
    for name, content in made().items():
        (FOLDER / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
