-- Alerts that others post to /api/v2/alerts, while they are on. `seq` counts transactions that wrote here,
-- so that another replica can read what is new to it.
create table posted_alert (
    digest      bytea primary key,
    seq         bigint not null,
    labels      text not null,
    annotations text not null,
    generator   text not null,
    starts_at   bigint not null,
    ends_at     bigint not null,
    timed       bigint not null,
    updated_at  bigint not null,
    incident    text not null
);
create index posted_alert_seq on posted_alert (seq);
-- The row that whoever writes alerts locks first: numbers are given out in the order of commits.
insert into meta (name, value) values ('posted_seq', '0');
