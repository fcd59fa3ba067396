"""Run the ledger participant: `python -m participants.ledger`."""

from participants.kit.runner import main
from participants.ledger.handlers import ledger

if __name__ == "__main__":
    main(ledger)
