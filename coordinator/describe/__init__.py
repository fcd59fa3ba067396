"""Definitions as people and programs read them: a table, a drawing, JSON, and an AsyncAPI document of all messages."""
