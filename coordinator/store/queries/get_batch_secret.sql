-- get_batch_secret: what seals confirmations.
SELECT secret FROM batch_secret
