"""Run the shipping participant: `python -m participants.shipping`."""

from participants.kit.runner import main
from participants.shipping.handlers import shipping

if __name__ == "__main__":
    main(shipping)
