-- The roles of a hosted Supabase project. `postgres` is no superuser there either.

create role anon nologin;
create role authenticated nologin;
create role service_role nologin bypassrls;
create role authenticator noinherit login;
create role postgres login createdb createrole bypassrls;

grant anon, authenticated, service_role to authenticator, postgres;
grant pg_monitor, pg_signal_backend to postgres;
alter database postgres owner to postgres;
