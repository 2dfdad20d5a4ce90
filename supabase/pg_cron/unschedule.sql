-- Ends what schedule.sql began. The secrets stay in the Vault.

select cron.unschedule(j.jobid) from cron.job as j where j.jobname = 'campaign-runner';
