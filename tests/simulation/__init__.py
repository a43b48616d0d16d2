"""A seeded simulator of the stream engine: the real worker and core, with clock, log, store and group made of values.

One schedule is a function of its seed: a random generator decides which coroutine takes the next step, what goes wrong
and when. After every change of the store its contents are compared with a recount of exactly the log that they claim to
stand for. ``simulation.soak`` runs many schedules; a failing one prints the seed that replays it.
"""
