"""Run the accounts participant: `python -m participants.accounts`."""

from participants.accounts.handlers import accounts
from participants.kit.runner import main

if __name__ == "__main__":
    main(accounts)
