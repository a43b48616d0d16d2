"""What every process does about itself, whatever it is for: it says that it lives, what it has counted, and what took how long.

Like ``schemas.logs`` this is set up by each process's ``__main__``. It lives here because every process does it alike and they
meet nowhere else; nothing of the centre imports it, and nothing here connects or listens before it is called.
"""
