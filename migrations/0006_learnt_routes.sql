-- Places of an app's paths whose values share a route: `/product` stands for `/product/:slug`. What is in `kept`, a JSON list,
-- keeps names of its own.
create table learnt_route (
    app    text not null,
    prefix text not null,
    kept   text not null,
    at     bigint not null,
    primary key (app, prefix)
);
