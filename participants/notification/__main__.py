"""Run the notification participant: `python -m participants.notification`."""

from participants.kit.runner import main
from participants.notification.handlers import notification

if __name__ == "__main__":
    main(notification)
