-- Calls the runner every minute from within the database, by pg_cron and pg_net. Apply it in the SQL editor or with psql,
-- as often as you like; unschedule.sql ends it, answers.sql shows what came of it. docs/operations.md says how to prune
-- what pg_cron records, and how a long call delays other webhooks of the project.
--
-- Beforehand, once: enable pg_cron and pg_net (Dashboard, Database, Extensions), and store in the Vault where the function
-- is and its token, which then stand in no job that others can read:
--
--   select vault.create_secret('https://campaign-runner-….run.app', 'campaign_runner_url');
--   select vault.create_secret('the token', 'campaign_runner_token');

do $$
declare
    v_missing text;
begin
    if to_regprocedure('cron.schedule(text,text,text)') is null then
        raise exception 'pg_cron is not enabled: enable it under Database, Extensions';
    end if;
    if to_regprocedure('net.http_post(text,jsonb,jsonb,jsonb,integer)') is null then
        raise exception 'pg_net is not enabled: enable it under Database, Extensions';
    end if;
    select string_agg(wanted.name, ', ' order by wanted.name desc)
    into v_missing
    from (values ('campaign_runner_url'), ('campaign_runner_token')) as wanted (name)
    where not exists (
        select from vault.decrypted_secrets as s where s.name = wanted.name and btrim(s.decrypted_secret) <> ''
    );
    if v_missing is not null then
        raise exception 'not in the Vault: %', v_missing
            using hint = 'select vault.create_secret(''the value'', ''the name'');';
    end if;
end
$$;

-- The timeout is that of a run, 50 seconds by default, and what it may take beyond. pg_net's own, 5 seconds or less, would
-- give up on a longer run, which goes on all the same, and report nothing of it.
select cron.schedule(
    'campaign-runner',
    '* * * * *',
    $job$
    select net.http_post(
        url := rtrim(btrim(runner_url.decrypted_secret), '/') || '/api/campaigns/run-automation',
        headers := jsonb_build_object(
            'Content-Type', 'application/json',
            'Authorization', 'Bearer ' || btrim(runner_token.decrypted_secret)
        ),
        timeout_milliseconds := 110000
    )
    from vault.decrypted_secrets as runner_url
    cross join vault.decrypted_secrets as runner_token
    where runner_url.name = 'campaign_runner_url' and runner_token.name = 'campaign_runner_token'
    $job$
);
