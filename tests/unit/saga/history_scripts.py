"""What happens in the histories beside this file, told as scenarios of the sagas that ship (docs/scenarios.md).

A history is kept for ever: an upgrade must read the log that an earlier version wrote, and decide as that did. When a
definition gets another version, its scripts are told of that one under new names, and the old histories stay.
"""

from __future__ import annotations

from collections.abc import Mapping

ORDER = (
    'given input {"order_id":"o-1","customer_id":"c-1","email":"ann@example.com",'
    '"items":[{"sku":"sku-book","quantity":2}],"amount_cents":4200,"currency":"EUR","card":{"token":"tok_visa"},'
    '"address":{"country":"DE","city":"Berlin","street":"Unter den Linden 1"}}\nbegin OrderFulfillment'
)
RESERVED = 'reply reserve_inventory completed {"reservation_id":"rsv_1"}'
PAID = 'reply process_payment completed {"payment_id":"pay_1","amount_cents":4200}'
SHIPPED = 'reply create_shipment completed {"shipment_id":"shp_1"}'
TOLD = 'reply send_confirmation completed {"notice_id":"ntc_1"}'

TRANSFER = (
    'given input {"transfer_id":"t-1","source_account":"acc-ann","destination_account":"acc-bob","amount_minor":1250,'
    '"currency":"EUR","source_email":"ann@example.com","destination_email":"bob@example.com"}\nbegin BankTransfer'
)
DEBITED = 'reply debit_source completed {"hold_id":"hld_1"}'
RECORDED = 'reply record_transfer completed {"entry_id":"ent_1"}'
CREDITED = 'reply credit_destination completed {"amount_minor":1250}'
NOTIFIED = 'reply send_notice completed {"mail_id":"mai_1"}'

TRIP = (
    'given input {"booking_id":"b-1","traveller":"Ann Example","traveller_email":"ann@example.com",'
    '"stay":{"hotel":"hotel-central","room":"double","check_in":"2031-05-02","nights":3},'
    '"passage":{"flight":"SG100","seats":2},'
    '"drive":{"station":"lisbon-airport","car_class":"compact","pick_up":"2031-05-02","days":4},'
    '"currency":"EUR","card":{"token":"tok_visa"}}\nbegin TravelBooking'
)
ROOM = 'reply book_room completed {"room_booking_id":"room_1","price_cents":36000}'
SUITE = 'reply book_room completed {"room_booking_id":"room_1","price_cents":360000}'
SEATS = 'reply book_seats completed {"ticket_id":"tkt_1","price_cents":36000}'
CAR = 'reply rent_car completed {"rental_id":"car_1","price_cents":14000}'
BILLED = 'reply take_payment completed {"payment_id":"pay_1","amount_cents":86000}'
BILLED_DEAR = 'reply take_payment completed {"payment_id":"pay_1","amount_cents":410000}'
SENT = 'reply send_itinerary completed {"mail_id":"mai_1"}'

UNDO_SHIPMENT = "reply create_shipment undone"
UNDO_PAYMENT = "reply process_payment undone"
UNDO_RESERVATION = "reply reserve_inventory undone"


def _lines(*lines: str) -> str:
    return "\n".join(lines) + "\n"


SCRIPTS: Mapping[str, str] = {
    "order-happy": _lines(ORDER, RESERVED, PAID, SHIPPED, TOLD),
    "order-refused-1": _lines(ORDER, "reply reserve_inventory failed"),
    "order-refused-2": _lines(ORDER, RESERVED, "reply process_payment failed", UNDO_RESERVATION),
    "order-refused-3": _lines(ORDER, RESERVED, PAID, "reply create_shipment failed", UNDO_PAYMENT, UNDO_RESERVATION),
    "order-refused-4": _lines(
        *(ORDER, RESERVED, PAID, SHIPPED, "reply send_confirmation failed"),
        *(UNDO_SHIPMENT, UNDO_PAYMENT, "reply reserve_inventory nothing_to_undo"),
    ),
    "order-retried": _lines(
        *(ORDER, "reply reserve_inventory failed retryable", "wait", RESERVED),
        *("wait", "wait", PAID, SHIPPED, "reply send_confirmation failed retryable", "wait", TOLD),
    ),
    "order-silent-payment": _lines(
        *(ORDER, RESERVED, "wait", "wait", "wait", "wait", "wait"),
        *("reply process_payment nothing_to_undo", "reply process_payment completed", UNDO_RESERVATION),
    ),
    "order-delayed-publication": _lines(ORDER, "wait delayed", RESERVED, PAID, SHIPPED, TOLD),
    "order-stuck-undo": _lines(
        *(ORDER, RESERVED, PAID, "reply create_shipment failed"),
        *["reply process_payment undo_failed", "wait"] * 14,
        *("reply process_payment undo_failed", "retry by=ann", UNDO_PAYMENT, UNDO_RESERVATION),
    ),
    "order-cancelled": _lines(ORDER, RESERVED, "compensate by=ann", "wait 4m", UNDO_PAYMENT, UNDO_RESERVATION),
    "order-suspended": _lines(ORDER, RESERVED, "suspend by=ann", PAID, "resume by=ann", SHIPPED, TOLD),
    "order-abandoned": _lines(ORDER, RESERVED, "abandon by=ann", PAID),
    "order-wrong-result": _lines(
        *(ORDER, 'reply reserve_inventory completed {"other":1}'),
        *('resolve reserve_inventory completed by=ann {"reservation_id":"rsv_1"}', PAID, SHIPPED, TOLD),
    ),
    "transfer-happy": _lines(TRANSFER, DEBITED, RECORDED, CREDITED, NOTIFIED),
    "transfer-refused-1": _lines(TRANSFER, "reply debit_source failed"),
    "transfer-refused-2": _lines(TRANSFER, DEBITED, "reply record_transfer failed", "reply debit_source undone"),
    "transfer-refused-pivot": _lines(
        *(TRANSFER, DEBITED, RECORDED, "reply credit_destination failed"),
        *("reply record_transfer undone", "reply debit_source undone"),
    ),
    "transfer-pivot-retried": _lines(TRANSFER, DEBITED, RECORDED, "wait", "wait", CREDITED, NOTIFIED),
    "transfer-pivot-unknown": _lines(
        *(TRANSFER, DEBITED, RECORDED, *["wait"] * 20),
        *('resolve credit_destination completed by=ann {"amount_minor":1250}', NOTIFIED),
    ),
    "transfer-past-the-pivot": _lines(
        *(TRANSFER, DEBITED, RECORDED, CREDITED, "reply send_notice failed retryable", "wait"),
        *("reply send_notice failed", "retry send_notice by=ann", NOTIFIED),
    ),
    "transfer-late": _lines(
        *(TRANSFER, DEBITED, "suspend by=ann", "wait 31m", "resume by=ann", "wait 1s"),
        *("reply record_transfer undone", "reply debit_source undone"),
    ),
    "trip-happy": _lines(TRIP, SEATS, CAR, ROOM, BILLED, SENT),
    "trip-approved": _lines(
        TRIP,
        ROOM.replace("36000", "360000"),
        SEATS,
        CAR,
        'outside approve_trip completes {"approved_by":"bea"}',
        BILLED_DEAR,
        SENT,
    ),
    "trip-not-approved": _lines(
        *(TRIP, SUITE, SEATS, CAR, "outside approve_trip fails"),
        *("reply rent_car undone", "reply book_seats undone", "reply book_room undone"),
    ),
    "trip-group-fails": _lines(
        *(TRIP, CAR, "reply book_seats failed", ROOM, "reply rent_car undone", "reply book_room undone"),
    ),
    "trip-group-unknown": _lines(
        *(TRIP, CAR, "reply book_seats failed", "wait", "reply rent_car undone", "reply book_room nothing_to_undo"),
    ),
    "trip-group-retried": _lines(TRIP, CAR, "reply book_room failed retryable", "wait", ROOM, SEATS, BILLED, SENT),
    "trip-progress": _lines(
        *(TRIP, ROOM, CAR, "wait 1m", "reply book_seats progress", "wait 4m", "reply book_seats progress"),
        *(SEATS, BILLED, SENT),
    ),
    "trip-pivot-refused": _lines(
        *(TRIP, ROOM, SEATS, CAR, "reply take_payment failed"),
        *("reply rent_car undone", "reply book_seats undone", "reply book_room undone"),
    ),
    "trip-scheduled": _lines(
        TRIP.replace("begin TravelBooking", "begin TravelBooking start_in=1h"), "wait", ROOM, SEATS, CAR, BILLED, SENT
    ),
}
