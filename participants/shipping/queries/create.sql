-- Create the shipments whose country is served; answers with what is known about every address, in order.
with wanted as (
    select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
        with ordinality as w (shipment_id, command_id, saga_id, order_id, country, city, street, place)
),
created as (
    insert into shipments (shipment_id, command_id, saga_id, order_id, country, city, street)
    select shipment_id, command_id, saga_id, order_id, country, city, street
    from wanted join countries on code = country and served
)
select served from wanted left join countries on code = country order by place
