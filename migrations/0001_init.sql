-- Times are whole milliseconds since 1970 (UTC), ids and JSON are text made by the program, packed data is bytea.
-- The same text runs on SQLite and on PostgreSQL: no booleans, no timestamps, no generated ids.
-- Whatever a stranger can make long (dimension values, grouping keys) is unique by its SHA-256:
-- PostgreSQL refuses index entries of more than a third of a page.

create table meta (
    name  text primary key,
    value text not null
);

create table series (
    id     bigint primary key,
    digest bytea not null unique,
    metric text not null,
    dims   text not null
);
-- The row that whoever adds series locks first, so that ids are given out once and two adders cannot deadlock.
insert into meta (name, value) values ('series_last', '0');

create table writer (
    id          text primary key,
    kind        text not null,
    started_at  bigint not null,
    flushed_to  bigint not null,
    last_n      bigint not null,
    compacted_n bigint not null,
    live        bigint not null,
    lease_until bigint not null
);

create table partial (
    writer text not null,
    n      bigint not null,
    at     bigint not null,
    data   bytea not null,
    primary key (writer, n)
);
create index partial_at on partial (at);

create table seen (
    writer text not null,
    n      bigint not null,
    at     bigint not null,
    data   bytea not null,
    primary key (writer, n)
);
create index seen_at on seen (at);

create table chunk (
    level bigint not null,
    start bigint not null,
    grp   bigint not null,
    data  bytea not null,
    primary key (level, start, grp)
);

create table alert (
    digest     bytea primary key,
    rule       text not null,
    grp        text not null,
    state      text not null,
    updated_at bigint not null
);

create table incident (
    id              text primary key,
    key             text not null,
    key_digest      bytea not null,
    status          text not null,
    severity        text not null,
    service         text not null,
    owner           text not null,
    title           text not null,
    signature       text not null,
    users           bigint not null,
    opened_at       bigint not null,
    acknowledged_at bigint,
    resolved_at     bigint,
    generation      bigint not null,
    sequence        bigint not null,
    data            text not null
);
create unique index incident_one_open on incident (key_digest) where status <> 'resolved';
create index incident_key on incident (key_digest, opened_at);
create index incident_open on incident (opened_at) where status <> 'resolved';
create index incident_opened on incident (opened_at, id);
create index incident_resolved on incident (resolved_at);

create table incident_event (
    incident text not null,
    n        bigint not null,
    at       bigint not null,
    kind     text not null,
    who      text not null,
    text     text not null,
    data     text not null,
    primary key (incident, n)
);

create table outbox (
    id            text primary key,
    incident      text not null,
    generation    bigint not null,
    sequence      bigint not null,
    receiver      text not null,
    correlation   text not null,
    kind          text not null,
    payload       text not null,
    state         text not null,
    due_at        bigint not null,
    created_at    bigint not null,
    finished_at   bigint,
    attempts      bigint not null,
    claimed_until bigint not null,
    last_error    text not null,
    reply         text not null
);
create unique index outbox_once on outbox (incident, receiver, generation, sequence);
create index outbox_due on outbox (due_at) where state = 'pending';
create index outbox_waiting on outbox (incident, receiver, generation, sequence) where state = 'pending';
create index outbox_dead on outbox (created_at) where state = 'dead';
create index outbox_created on outbox (created_at, id);
create index outbox_finished on outbox (finished_at);

create table attempt (
    delivery text not null,
    n        bigint not null,
    at       bigint not null,
    outcome  text not null,
    status   bigint,
    took_ms  bigint not null,
    detail   text not null,
    primary key (delivery, n)
);

create table receiver_state (
    receiver     text primary key,
    paused_until bigint not null,
    data         text not null
);

create table annotation (
    id         text primary key,
    kind       text not null,
    at         bigint not null,
    app        text not null,
    release    text not null,
    text       text not null,
    url        text not null,
    created_at bigint not null
);
create index annotation_at on annotation (at);

create table rule_set (
    revision  text primary key,
    files     text not null,
    loaded_at bigint not null,
    good      bigint not null
);

create table silence (
    id         text primary key,
    matchers   text not null,
    starts_at  bigint not null,
    ends_at    bigint not null,
    author     text not null,
    comment    text not null,
    created_at bigint not null,
    updated_at bigint not null,
    expired_at bigint
);
create index silence_ends on silence (ends_at);

create table audit (
    id     text primary key,
    at     bigint not null,
    who    text not null,
    action text not null,
    thing  text not null,
    source text not null,
    detail text not null
);
create index audit_at on audit (at, id);

create table lease (
    name     text primary key,
    holder   text not null,
    token    bigint not null,
    until_ms bigint not null
);

create table progress (
    name text primary key,
    at   bigint not null,
    data text not null
);
