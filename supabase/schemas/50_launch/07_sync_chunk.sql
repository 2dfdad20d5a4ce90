create or replace function campaign_runner.sync_chunk(
    p_launch_id bigint,
    p_rules campaign_runner.rules,
    p_max_rows integer,
    p_may_split boolean,
    out outcome text,
    out contacts bigint,
    out reconciled bigint,
    out is_whole boolean
)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    v_first constant uuid := '00000000-0000-0000-0000-000000000000';
    v_last constant uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    v_chunk campaign_runner.launch_chunks;
    v_launch campaign_runner.launches;
    v_is_again boolean;
    v_next uuid;
    v_synced record;
begin
    contacts := 0;
    reconciled := 0;
    is_whole := false;
    select * into v_chunk
    from campaign_runner.launch_chunks s
    where s.launch_id = p_launch_id and s."cursor" is not null
    order by s.lo
    limit 1
    for update skip locked;
    if not found then
        if exists (
            select from campaign_runner.launch_chunks s where s.launch_id = p_launch_id and s."cursor" is not null
        ) then
            raise exception 'other steps have the chunks' using errcode = 'CR001';
        end if;
        outcome := 'through';
        return;
    end if;
    -- Read under the chunk lock: restart_reconcile() needs every chunk lock.
    select * into v_launch from campaign_runner.launches l where l.id = p_launch_id;
    if v_launch.rules_hash is distinct from p_rules.hash then
        perform campaign_runner.restart_reconcile(p_launch_id);
        outcome := 'laid_out';
        return;
    end if;

    -- After an edit in mid-generation there are chunks in a reconcile that were never generated.
    v_is_again := v_launch.state = 'reconciling' and v_chunk.inserted > 0;
    v_next := campaign_runner.nth_contact(v_launch.organization_id, v_chunk."cursor", v_chunk.hi, p_max_rows);
    -- A campaign that does not fit in the rest of this step waits for the next step: a split audience costs a second pass.
    if v_next is not null and not p_may_split then
        raise exception 'the campaign does not fit in what is left of the step' using errcode = 'CR003';
    end if;
    -- A long audience is cut first, by a step that does nothing else, so that other steps begin at once. An audience that
    -- fits in one step is left whole.
    if v_next is not null and not v_is_again and v_chunk."cursor" = v_chunk.lo and v_chunk.hi = v_last then
        perform campaign_runner.plan_chunks(p_launch_id, v_chunk.lo, v_launch.organization_id, p_max_rows);
        outcome := 'laid_out';
        return;
    end if;

    select * into v_synced
    from campaign_runner.sync_recipients(
        v_launch.campaign_id, p_rules, v_chunk."cursor", coalesce(v_next, v_chunk.hi), p_launch_id
    );
    contacts := v_synced.contacts;
    reconciled := case when v_is_again then contacts else 0 end;
    update campaign_runner.launch_chunks s
    set
        "cursor" = v_next,
        contacts = s.contacts + v_synced.contacts,
        inserted = s.inserted + v_synced.inserted,
        excluded = campaign_runner.add_counts(s.excluded, v_synced.excluded),
        excluded_countries = array(
            select distinct k from unnest(s.excluded_countries || v_synced.excluded_countries) k
        ),
        worked_at = clock_timestamp()
    where s.launch_id = v_chunk.launch_id and s.lo = v_chunk.lo;
    is_whole := v_next is null and v_chunk."cursor" = v_first and v_chunk.hi = v_last;

    -- The last chunk to come through ends the pass. Where two come through at once, each may see the other's as
    -- unfinished: then the next step, which finds no chunk to work on, ends the pass.
    outcome := case
        when v_next is null
            and not exists (
                select from campaign_runner.launch_chunks s
                where s.launch_id = p_launch_id and s."cursor" is not null
            )
            then 'through'
        else 'progressed'
    end;
end;
$$;
comment on function campaign_runner.sync_chunk(bigint, campaign_runner.rules, integer, boolean) is
    'Syncs the next part of a chunk that no other step has. Outcome: progressed; laid_out, there are new chunks for any '
    'step; through, no chunk has work left. is_whole: this step synced the whole audience. Raises CR001 where other steps '
    'have the chunks, CR003 where the part does not fit and may not be split.';
