-- What is not finished stands in no index by when it was, and a queue needs none beside the one that keeps deliveries single.
drop index outbox_waiting;
drop index outbox_finished;
create index outbox_finished on outbox (finished_at) where finished_at is not null;
drop index incident_resolved;
create index incident_resolved on incident (resolved_at) where resolved_at is not null;
