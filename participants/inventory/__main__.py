"""Run the inventory participant: `python -m participants.inventory`."""

from participants.inventory.handlers import inventory
from participants.kit.runner import main

if __name__ == "__main__":
    main(inventory)
