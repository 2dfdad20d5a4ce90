create or replace function campaign_runner.blockers()
returns table (
    pid integer,
    application text,
    role text,
    state text,
    seconds bigint,
    mode text,
    tables text[]
)
language sql
stable
-- The service role may not see what other sessions do. No text of a query, which may hold row data.
security definer
set search_path = pg_catalog, pg_temp
as $$
    select
        a.pid, a.application_name, a.usename::text, a.state,
        floor(extract(epoch from clock_timestamp() - a.xact_start))::bigint,
        (array_agg(l.mode order by s.strength desc))[1],
        array_agg(distinct format('%I.%I', n.nspname, c.relname))
    from pg_locks l
    join pg_stat_activity a on a.pid = l.pid
    join pg_class c on c.oid = l.relation
    join pg_namespace n on n.oid = c.relnamespace
    join unnest(array[
        'RowShareLock', 'RowExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'
    ]) with ordinality as s (mode, strength) on s.mode = l.mode
    where l.locktype = 'relation'
        and l.database = (select d.oid from pg_database d where d.datname = current_database())
        and l.granted
        and l.pid <> pg_backend_pid()
        and (
            n.nspname = 'campaign_runner'
            or c.oid in (select r.table_oid from campaign_runner.required_columns() r)
            -- A trigger of the project may wait for any table.
            or n.nspname <> 'pg_catalog' and exists (
                select from campaign_runner.launches k where k.closed_at is null and k.failed_with in ('CR004', '55P03')
            )
        )
        and c.relkind in ('r', 'p')
        and (
            l.mode not in ('RowShareLock', 'RowExclusiveLock')
            -- Rows may be locked. No step takes so long.
            or a.xact_start < clock_timestamp() - interval '1 minute'
        )
    group by a.pid, a.application_name, a.usename, a.state, a.xact_start
    order by a.xact_start
    limit 5
$$;
comment on function campaign_runner.blockers() is
    'The sessions that may keep a step waiting: by a lock on a whole table, or by a transaction older than a minute, which may '
    'have locked rows. Where a lock has kept a campaign from its launch, locks on all other tables count.';
