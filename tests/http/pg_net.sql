-- The smallest substitutes for pg_net and the Vault, which no package brings: their interface, as hosted projects have it.
-- What is queued is sent by the test, after the commit, as pg_net's worker does; the Vault keeps its secrets in the clear.

create schema net;

create table net.http_request_queue (
    id bigserial, method text not null, url text not null, headers jsonb not null, body bytea, timeout_milliseconds int not null
);

create table net._http_response (
    id bigint, status_code int, content_type text, headers jsonb, content text, timed_out bool, error_msg text,
    created timestamptz not null default now()
);

create function net.http_post(
    url text,
    body jsonb default '{}',
    params jsonb default '{}',
    headers jsonb default '{"Content-Type": "application/json"}',
    timeout_milliseconds int default 2000
) returns bigint language plpgsql as $$
declare
    v_id bigint;
begin
    if headers ->> 'Content-Type' is distinct from 'application/json' then
        raise exception 'Content-Type header must be "application/json"';
    end if;
    insert into net.http_request_queue (method, url, headers, body, timeout_milliseconds)
    values ('POST', url, headers, convert_to(body::text, 'UTF8'), timeout_milliseconds)
    returning id into v_id;
    notify pg_net;
    return v_id;
end
$$;

create schema vault;

create table vault.secrets (name text unique, secret text);

create view vault.decrypted_secrets as select name, secret as decrypted_secret from vault.secrets;

create function vault.create_secret(new_secret text, new_name text) returns void language sql as $$
    insert into vault.secrets (name, secret) values (new_name, new_secret)
$$;

grant usage on schema cron, net, vault to postgres;
grant all on all tables in schema net, vault to postgres;
grant all on all sequences in schema net to postgres;
grant select on all tables in schema cron to postgres;
