create or replace function campaign_runner.meaning(
    p_code text
)
returns text
language sql
immutable
return case
    when p_code = '25006' then 'The database is read-only'
    when p_code = '53100' then 'The disk of the database is full'
    when p_code = '53300' then 'The database has no connection left'
    when p_code = 'P0001' then 'A trigger or function of the project refused the campaign'
    when p_code = 'P0004' then 'An assertion of a trigger failed'
    when p_code = '23502' then 'A column that must not be empty got no value'
    when p_code = '23514' then 'A check constraint refused a row of the campaign'
    when p_code = '23503' then 'A foreign key refused a row of the campaign'
    when p_code in ('23505', '23P01') then 'Another row has the key that a row of the campaign would have'
    when left(p_code, 2) = '23' then 'A constraint refused a row of the campaign'
    when p_code = '42501' then 'A trigger of the project, or the runner, lacks a privilege'
    when p_code in ('3F000', '42P01', '42703', '42704', '42883')
        then 'A trigger or default, or the runner, names something that does not exist'
    when p_code in ('22P02', '42804') then 'A value does not fit the type of its column'
    when left(p_code, 2) = '22' then 'A value does not fit, or an expression of the project failed'
    when left(p_code, 2) = '53' then 'A trigger, or the database itself, says that a limit is reached'
    when left(p_code, 2) in ('08', '57', '58', 'XX') then 'A trigger, or the database itself, says that the database failed'
    else 'The database refused to write for this campaign'
end;
comment on function campaign_runner.meaning(text) is 'What an SQLSTATE means, in the words of a campaign manager.';
