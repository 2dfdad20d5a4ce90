create or replace function campaign_runner.examine_values()
returns table (severity text, lack text, remedy text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_value record;
    v_check record;
    v_allows boolean;
begin
    severity := 'error';
    for v_value in
        select n.value, n.is_written, r.*
        from (
            values
                ('campaigns', 'status', 'scheduled', false), ('campaigns', 'status', 'sending', true),
                ('campaign_recipients', 'status', 'pending', true), ('campaign_recipients', 'status', 'bounced', false),
                ('activity_events', 'event_type', 'campaign.sending', true)
        ) as n (table_name, column_name, value, is_written)
        join campaign_runner.required_columns() r on r.table_name = n.table_name and r.column_name = n.column_name
        where r.is_there
    loop
        if v_value.type_kind = 'e' and not exists (
            select from pg_enum e where e.enumtypid = v_value.base_type and e.enumlabel = v_value.value
        ) then
            lack := format(
                'enum %s of public.%s.%s lacks the value %s',
                v_value.type_name, v_value.table_name, v_value.column_name, v_value.value
            );
            remedy := format('alter type %s add value %L;', v_value.type_name, v_value.value);
            return next;
        end if;

        -- Each CHECK on this column alone is asked with the value.
        for v_check in
            select c.conname, pg_get_expr(c.conbin, c.conrelid) as expression, format_type(a.atttypid, a.atttypmod) as type_name
            from pg_constraint c
            join pg_attribute a on a.attrelid = c.conrelid and c.conkey = array[a.attnum]
            where v_value.is_written
                and c.conrelid = v_value.table_oid
                and c.contype = 'c'
                and a.attname = v_value.column_name
        loop
            begin
                execute format(
                    'select %s from (select %L::%s as %I) asked',
                    v_check.expression, v_value.value, v_check.type_name, v_value.column_name
                ) into v_allows;
            exception
                when others then
                    v_allows := true; -- an enum without the value, which is told above, or an expression of another kind
            end;
            if v_allows is false then
                lack := format(
                    'constraint %s of public.%s does not allow %s ''%s''',
                    v_check.conname, v_value.table_name, v_value.column_name, v_value.value
                );
                remedy := format(
                    'alter table public.%I drop constraint %I, add constraint %I check ((%s) or %I = %L) not valid;',
                    v_value.table_name, v_check.conname, v_check.conname, v_check.expression,
                    v_value.column_name, v_value.value
                );
                return next;
            end if;
        end loop;
    end loop;
end;
$$;
comment on function campaign_runner.examine_values() is
    'Which values of the runner an enum or a CHECK of the project refuses, with the SQL that mends it.';
