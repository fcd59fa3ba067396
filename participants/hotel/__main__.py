"""Run the hotel participant: `python -m participants.hotel`."""

from participants.hotel.handlers import hotel
from participants.kit.runner import main

if __name__ == "__main__":
    main(hotel)
