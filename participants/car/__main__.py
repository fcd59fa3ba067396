"""Run the car participant: `python -m participants.car`."""

from participants.car.handlers import car
from participants.kit.runner import main

if __name__ == "__main__":
    main(car)
