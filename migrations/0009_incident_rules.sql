-- The names of the rules whose alerts an incident holds, each between two line ends: titles say who fails, people look for names.
alter table incident add column rules text not null default '';
