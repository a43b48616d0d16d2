"""The ``scores`` command: starts the processes, simulates, imports, shows and verifies."""
