-- The dead letters that are not on the dead-letter topic yet.
CREATE INDEX dead_letter_unpublished ON dead_letter (id) WHERE NOT on_topic
