create or replace function campaign_runner.refuse_unusable_project()
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_errors text;
    v_warning record;
begin
    select string_agg(format(E'\n  - %s\n    %s', c.lack, c.remedy), '') into v_errors
    from campaign_runner.check_project(false) c
    where c.severity = 'error';
    if v_errors is not null then
        raise exception 'campaign runner: this project cannot be used as it is. Nothing was changed.%', v_errors;
    end if;
    for v_warning in
        select c.lack, c.remedy from campaign_runner.check_project(false) c where c.severity = 'warning'
    loop
        raise warning 'campaign runner: %. %', v_warning.lack, v_warning.remedy;
    end loop;
end;
$$;
comment on function campaign_runner.refuse_unusable_project() is
    'Raises everything at once that keeps the runner from working in this project, and warns of what may.';
