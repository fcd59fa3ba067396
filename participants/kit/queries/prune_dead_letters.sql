-- Forget a slice of the dead letters that are older than the participant's memory.
delete from kit_dead_letter where ctid = any(array(
    select ctid from kit_dead_letter where at < clock_timestamp() - make_interval(secs => $1) limit $2
))
