-- Forget a slice of what is older than the participant's memory; served by kit_command_by_age.
delete from kit_command where command_id = any(array(
    select command_id from kit_command where at < clock_timestamp() - make_interval(secs => $1) limit $2
))
