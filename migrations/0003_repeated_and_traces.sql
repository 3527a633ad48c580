-- What is counted of things that may be reported again (web vitals, sessions, spans), with the flush that counted
-- it: a report that comes after a restart corrects what was counted before.
create table repeated (
    writer  text not null,
    n       bigint not null,
    at      bigint not null,
    entries bigint not null,
    data    bytea not null,
    primary key (writer, n)
);
create index repeated_at on repeated (at, entries);

-- Example traces of bad events, by series and time, with the flush that brought them.
create table trace (
    writer text not null,
    n      bigint not null,
    at     bigint not null,
    data   bytea not null,
    primary key (writer, n)
);
create index trace_at on trace (at);
