"""A standalone saga coordinator over Kafka and Postgres.

Imports point down only; from the top:

command            the command `saga`: finds the module of what is asked for
cli, bootstrap     what runs a coordinator
process            the sides of a process, which wire the parts
remote             what people do over the REST API; knows nothing below but the errors
doctor             what is wrong with an installation, and what to do
parts              what follows from the settings alone
scenario           sagas told line by line, played by the pure machine
api                REST over HTTP: problems, limits, health
choreography       sagas that nobody coordinates: watched, recorded, replayed
services           starting and retrying sagas for the API; slow chores of the engine
describe           definitions as tables, drawings, JSON and AsyncAPI
engine             batches: read, decide, one statement, publish; ownership, relay, sweeper, timers
store | kafka      Postgres, one statement per file | Kafka clients that defend against their traps
check              a search through everything that can happen to a definition's sagas
saga | wire        the pure machine that decides | the pure codecs of the contract with participants
settings | observability
errors
"""
