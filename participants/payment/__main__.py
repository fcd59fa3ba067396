"""Run the payment participant: `python -m participants.payment`."""

from participants.kit.runner import main
from participants.payment.handlers import payment

if __name__ == "__main__":
    main(payment)
