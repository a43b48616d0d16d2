"""``scores releases``: look at release states and change them, through a gateway and its permission checks."""
