"""Other stream engines doing our job, each as its documentation has it; ``bench.roster`` starts them.

The modules here run in environments of their own, where nothing of this project but this folder can be imported.
"""
