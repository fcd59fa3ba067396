"""The commands that people use on a coordinator over its REST API.

contexts (which server, with which key) < client (HTTP) < output (tables, JSON, YAML) < session (what every command
has) < one module per family of commands. None of them knows the inside of a coordinator: they start in a blink.
"""
