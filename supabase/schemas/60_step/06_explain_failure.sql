create or replace function campaign_runner.explain_failure(
    p_code text,
    p_message text,
    p_table text,
    p_column text,
    p_constraint text
)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The database's own message may quote a row: only names of things in the schema get out.
    return case
        when p_code in ('CR004', '55P03', '40P01', '40001') then
            'Another transaction has locked this campaign, or rows that its launch needs. '
            '`python -m runner doctor` names that transaction.'
        when p_code in ('57014', 'CR005') then
            'The database stopped the work on this campaign because it took too long. '
            'Look for a slow trigger on campaign_recipients or campaigns.'
        when p_code like 'CR%' then p_message
        else format(
            '%s (SQLSTATE %s%s%s%s). Correct the cause, or edit the campaign, and the runner tries it again. '
            '`python -m runner history` shows the words of the refusal.',
            campaign_runner.meaning(p_code),
            p_code,
            case when p_constraint <> '' then ', constraint ' || p_constraint end,
            case when p_table <> '' then ', table ' || p_table end,
            case when p_column <> '' then ', column ' || p_column end
        )
    end;
end;
$$;
comment on function campaign_runner.explain_failure(text, text, text, text, text) is
    'What is said of a failure to the outside: a sentence for a campaign manager, without row data.';
