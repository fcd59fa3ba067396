"""Run the flight participant: `python -m participants.flight`."""

from participants.flight.handlers import flight
from participants.kit.runner import main

if __name__ == "__main__":
    main(flight)
