create or replace function campaign_runner.plan_chunks(
    p_launch_id bigint,
    p_lo uuid,
    p_organization_id uuid,
    p_max_rows integer
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
as $$
declare
    v_chunks_at_most constant integer := 8;
    v_last constant uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    v_half_a_step constant integer := greatest(p_max_rows / 2, 1);
    v_lo uuid := p_lo;
    v_bound uuid;
    v_contacts bigint;
    v_chunks integer := v_chunks_at_most;
    v_contacts_each integer := v_half_a_step;
begin
    -- A chunk is half of a step; those at the end of an audience may be a whole step. At most eight are cut at once:
    -- p_max_rows grows when steps are fast, so later chunks can be bigger.
    select count(*) into v_contacts
    from (
        select from public.contacts c
        where c.organization_id = any (array[p_organization_id]) and c.id >= p_lo and c.id < v_last
        order by c.organization_id, c.id
        limit p_max_rows::bigint * v_chunks_at_most + 1
    ) ahead;
    -- The end of an audience is cut into an even number of equal chunks, so that no chunk runs alone for long. Eight halves of
    -- a step and a last chunk with the rest took 6 % longer for 100,000 contacts.
    if v_contacts <= p_max_rows::bigint * v_chunks_at_most then
        v_chunks := least(v_chunks_at_most, 2 * ceil(greatest(v_contacts, 1) / (2.0 * v_half_a_step)));
        v_contacts_each := greatest(ceil(v_contacts / v_chunks::numeric), 1);
    end if;

    -- The index tells where the bounds lie, since ids need not be uniform.
    for i in 1..v_chunks loop
        v_bound := campaign_runner.nth_contact(p_organization_id, v_lo, v_last, v_contacts_each);
        exit when v_bound is null;
        update campaign_runner.launch_chunks s set hi = v_bound where s.launch_id = p_launch_id and s.lo = v_lo;
        insert into campaign_runner.launch_chunks (launch_id, lo, hi, "cursor")
        values (p_launch_id, v_bound, v_last, v_bound);
        v_lo := v_bound;
    end loop;
end;
$$;
comment on function campaign_runner.plan_chunks(bigint, uuid, uuid, integer) is
    'Cuts the last chunk of a launch, which no step has begun, into chunks that fit in a step of so many contacts. What '
    'eight chunks leave stays the last chunk.';
