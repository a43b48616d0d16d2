"""Exam reports in, events out: what the import endpoint does between a document and Kafka's acknowledgement.

``documents`` takes requests apart, ``reading`` turns a document into an event or a refusal, ``records`` is what is kept
of it, ``store`` is Redis, ``service`` the order of the steps, ``routes`` the HTTP around it,
``openapi`` its description.
"""
