"""The canary: sends an invented result through the whole service again and again, and measures how long each stage takes."""
