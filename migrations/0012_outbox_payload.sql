-- What is sent does not change, and everything else about a delivery does, several times: apart, a change writes little.
create table outbox_payload (
    delivery text primary key,
    payload  text not null
);
insert into outbox_payload (delivery, payload) select id, payload from outbox;
alter table outbox drop column payload;
