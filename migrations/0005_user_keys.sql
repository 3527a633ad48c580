-- The keys under which users are counted, one after the other; each holds from a time on until the next one does.
-- A key is random and stands nowhere else. It goes when nothing can be counted under it any more.
create table user_key (
    number bigint primary key,
    since  bigint not null,
    key    text not null
);
