create or replace function campaign_runner.has_index(
    p_table regclass,
    p_columns text[],
    p_unique boolean default false
)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    -- Only a whole, valid index counts. A unique one must have exactly these columns, in any order, and be checked at
    -- once (a deferrable constraint reports a duplicate too late for sync_recipients()); another one must start with them, in
    -- this order.
    select exists (
        select from pg_index i
        cross join lateral (
            select array_agg(a.attname::text order by k.position) as columns
            from unnest(i.indkey::smallint[]) with ordinality as k (attnum, position)
            join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
            where k.position <= i.indnkeyatts
        ) key
        join pg_class x on x.oid = i.indexrelid
        join pg_am am on am.oid = x.relam
        where i.indrelid = p_table
            and am.amname = 'btree'
            and i.indisvalid
            and i.indpred is null
            and not (0 = any (i.indkey::smallint[]))
            and case
                when p_unique
                    then i.indisunique and i.indimmediate and key.columns @> p_columns and key.columns <@ p_columns
                else key.columns[1:cardinality(p_columns)] = p_columns
                    and 0 = all ((i.indoption::smallint[])[0:cardinality(p_columns) - 1]) -- ascending
            end
    );
$$;
comment on function campaign_runner.has_index(regclass, text[], boolean) is
    'Whether the table has a complete, valid index that leads with these columns (unique: on exactly these columns).';
