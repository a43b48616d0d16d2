"""The gateway: takes exams in, serves snapshots and pushes live preliminary results to those who may see them."""
