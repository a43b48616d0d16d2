"""``scores plan``: how many partitions, processes and bytes a deployment needs, calculated from what was measured."""
