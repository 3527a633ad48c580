-- The order in which deliveries are claimed, so that a long queue is not sorted for each claim.
create index outbox_next on outbox (due_at, created_at, id) where state = 'pending';
drop index outbox_due;
