-- Replaced by an index that has a letter's acts in their order.
DROP INDEX audit_log_of_letter
