import type { Pool } from 'pg'

/** Bytes of `execution_traces`, all partitions together: rows, TOAST, and each index by its name. */
export interface TableBytes {
  heap: number
  toast: number
  indexes: Record<string, number>
  total: number
}

/** Reads them. */
export async function tableBytes(pool: Pool, schema = 'public'): Promise<TableBytes> {
  const table = `${schema}.execution_traces`
  const { rows } = await pool.query<{ heap: number; toast: number }>(
    `select sum(pg_relation_size(c.oid))::float8 as heap,
            sum(case when c.reltoastrelid = 0 then 0 else pg_total_relation_size(c.reltoastrelid) end)::float8 as toast
       from pg_partition_tree($1::regclass) t join pg_class c on c.oid = t.relid
      where t.isleaf`,
    [table],
  )
  const { heap = 0, toast = 0 } = rows[0] ?? {}
  const list = await pool.query<{ name: string; bytes: number }>(
    `select i.indexrelid::regclass::text as name,
            (select sum(pg_relation_size(t.relid)) from pg_partition_tree(i.indexrelid) t where t.isleaf)::float8 as bytes
       from pg_index i where i.indrelid = $1::regclass order by bytes desc`,
    [table],
  )
  const indexes = Object.fromEntries(list.rows.map(({ name, bytes }) => [name, bytes]))
  return { heap, toast, indexes, total: heap + toast + list.rows.reduce((sum, { bytes }) => sum + bytes, 0) }
}
