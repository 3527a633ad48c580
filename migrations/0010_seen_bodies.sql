-- Whole bodies are remembered for minutes, ids for as long as buckets: each is forgotten in its own time.
create table seen_body (
    writer text not null,
    n      bigint not null,
    at     bigint not null,
    data   bytea not null,
    primary key (writer, n)
);
create index seen_body_at on seen_body (at);
