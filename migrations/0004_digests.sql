-- Which digest a notification was told in, when more came at once than its receiver takes. Empty: it was told by itself.
alter table outbox add column digest text not null default '';
create index outbox_digest on outbox (digest) where digest <> '';
