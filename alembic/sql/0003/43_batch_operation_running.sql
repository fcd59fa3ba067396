-- What there is to do, the oldest first.
CREATE INDEX batch_operation_running ON batch_operation (id) WHERE state = 'running'
