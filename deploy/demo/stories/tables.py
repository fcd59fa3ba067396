"""What participants leave in their tables for a saga: rows of (saga id, amount done, amount undone) for the ids $1.

Written with SQL that knows nothing of sagas' states, so that the coordinator's view is compared with something else.
"""

from __future__ import annotations

from typing import Final

RESERVATIONS: Final = """
select saga_id, sum(quantity)::bigint, coalesce(sum(quantity) filter (where released_at is not null), 0)::bigint
from inventory.reservations cross join jsonb_to_recordset(lines) as line (quantity bigint)
where saga_id = any($1::text[]) group by saga_id
"""
PAYMENTS: Final = """
select p.saga_id, sum(p.amount_cents)::bigint, coalesce(sum(r.amount_cents), 0)::bigint
from payment.payments as p left join payment.refunds as r using (payment_id)
where p.saga_id = any($1::text[]) group by p.saga_id
"""
SHIPMENTS: Final = """
select saga_id, count(*), count(cancelled_at) from shipping.shipments
where saga_id = any($1::text[]) group by saga_id
"""
NOTICES: Final = """
select saga_id, count(*) filter (where kind = 'confirmation'), count(*) filter (where kind = 'cancellation')
from notification.notices where saga_id = any($1::text[]) group by saga_id
"""
MAILS: Final = """
select saga_id, count(*), 0 from notification.mails where saga_id = any($1::text[]) group by saga_id
"""
HOLDS: Final = """
select saga_id, sum(amount_minor)::bigint, coalesce(sum(amount_minor) filter (where ending = 'returned'), 0)::bigint
from accounts.holds where saga_id = any($1::text[]) group by saga_id
"""
CREDITS: Final = """
select saga_id, sum(amount_minor)::bigint, 0 from accounts.holds
where ending = 'credited' and saga_id = any($1::text[]) group by saga_id
"""
ENTRIES: Final = """
select saga_id, coalesce(sum(amount_minor) filter (where reverses is null), 0)::bigint,
    coalesce(sum(amount_minor) filter (where reverses is not null), 0)::bigint
from ledger.entries where saga_id = any($1::text[]) group by saga_id
"""
ROOMS: Final = """
select saga_id, sum(nights), coalesce(sum(nights) filter (where cancelled_at is not null), 0)
from hotel.room_bookings where saga_id = any($1::text[]) group by saga_id
"""
TICKETS: Final = """
select saga_id, sum(seats), coalesce(sum(seats) filter (where cancelled_at is not null), 0)
from flight.tickets where saga_id = any($1::text[]) group by saga_id
"""
RENTALS: Final = """
select saga_id, sum(days), coalesce(sum(days) filter (where cancelled_at is not null), 0)
from car.rentals where saga_id = any($1::text[]) group by saga_id
"""
