create or replace function campaign_runner.trim(
    p_text text
)
returns text
language sql
immutable
-- A body that is parsed when the function is created needs no search_path, and is inlined: the planner sees the
-- expression of the indexes. The characters beyond ASCII are the no-break, narrow no-break and zero-width spaces, the
-- joiners and the byte order mark, which come with addresses that were pasted.
-- The vertical tab in hex: before Postgres 16, \v is the letter v, and vera@… was the address of era@….
return pg_catalog.btrim(p_text, E' \t\n\x0b\f\r\u00a0\u200b\u200c\u200d\u202f\u2060\ufeff');
comment on function campaign_runner.trim(text) is 'A text without the blanks around it.';
