"""A standalone saga coordinator over Kafka and Postgres.

Imports point down only; from the top:

cli, bootstrap     the command `saga`; the only place that wires the parts
api                REST over HTTP: problems, limits, health
services           starting and retrying sagas for the API; slow chores of the engine
describe           definitions as tables, drawings, JSON and AsyncAPI
engine             batches: read, decide, one statement, publish; ownership, relay, sweeper, timers
store | kafka      Postgres, one statement per file | Kafka clients that defend against their traps
saga | wire        the pure machine that decides | the pure codecs of the contract with participants
settings | observability
errors
"""
