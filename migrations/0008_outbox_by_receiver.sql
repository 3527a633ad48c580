-- Each receiver's queue is claimed by itself, so that a long one is not gone through to find what waits behind it.
create index outbox_queue on outbox (receiver, due_at, created_at, id) where state = 'pending';
drop index outbox_next;
