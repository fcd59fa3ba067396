-- A record is set aside once, however often it is read.
CREATE UNIQUE INDEX a_record_is_set_aside_once
ON dead_letter (cluster_id, topic, partition, first_offset) WHERE kind = 'record'
