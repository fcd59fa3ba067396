-- Cancel the shipment of an action, once; found by its command ($1), or by the shipment ($2) of the same saga ($3).
with shipped as (
    select shipment_id from shipments where command_id = $1 or (shipment_id = $2 and saga_id = $3)
),
cancelled as (
    update shipments as s
    set cancelled_at = clock_timestamp(), cancelled_seq = nextval('effect_seq'), cancelled_by = $4
    from shipped where s.shipment_id = shipped.shipment_id and s.cancelled_at is null
)
select count(*) from shipped
