-- Replaced by an index that has a saga's acts in their order.
DROP INDEX audit_log_of_saga
