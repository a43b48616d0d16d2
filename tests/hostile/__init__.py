"""Hostile input: mutated exam events and reports by the million, against the worker's reader and the gateway.

``python -m hostile`` with ``tests`` on the path (``make fuzz``). Every input is a function of its kind, seed and number.
Whatever it is, it must be accepted, or refused with a reason; nothing may crash, hang, grow without bound, or mean one
thing to the worker and another to whoever reads the same bytes as ``schemas.events.ExamResult``.
"""
