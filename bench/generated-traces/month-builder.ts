// Builds one month of traces: rows by COPY into a table without indexes, which are made when it is attached. `month-builder.ts <url>`.
import { once } from 'node:events'
import { type Month, monthBounds, partitionName, rowOfState } from '@stepwell/protocol'
import pg from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import { seededRandom } from '../../tests/faults/seeded-random.ts'
import { serve } from '../contender.ts'
import { traceMaker, type Variety } from './state.ts'

/** What is to be in the month. */
export interface MonthTask extends Variety {
  schema: string
  month: Month
  /** Starts lie between these, evenly, in the order of the rows. */
  fromMs: number
  toMs: number
  traces: number
}

const CHUNK_LENGTH = 1 << 20

const [databaseUrl] = process.argv.slice(2) as [string]
const client = new pg.Client({ connectionString: databaseUrl })
await client.connect()
// To sort for the indexes.
await client.query(`set maintenance_work_mem = '1GB'`)

serve(async (task: MonthTask): Promise<{ ms: number }> => {
  const startMs = performance.now()
  const parent = `${task.schema}.execution_traces`
  const partition = `${task.schema}.${partitionName(task.month)}`
  const { fromMs, toMs } = monthBounds(task.month)
  const bound = (ms: number): string => `'${new Date(ms).toISOString()}'`
  await client.query('begin')
  await client.query(`drop table if exists ${partition}`)
  await client.query(`create table ${partition} (like ${parent} including defaults including constraints)`)
  await copyRows(partition, task)
  await client.query(
    `alter table ${parent} attach partition ${partition} for values from (${bound(fromMs)}) to (${bound(toMs)})`,
  )
  await client.query('commit')
  await client.query(`vacuum (analyze) ${partition}`)
  return { ms: performance.now() - startMs }
})

async function copyRows(table: string, { fromMs, toMs, traces, ...variety }: MonthTask): Promise<void> {
  const make = traceMaker(variety, seededRandom(fromMs))
  const rowAt = (i: number) => {
    const startedAtMs = Math.floor(fromMs + ((toMs - fromMs) * i) / traces)
    return { ...rowOfState(make(startedAtMs)), ingested_at: new Date(startedAtMs) }
  }
  // Frozen, as rows are that nobody has changed for long.
  const stream = client.query(
    copyFrom(`copy ${table} (${Object.keys(rowAt(0)).join(', ')}) from stdin (freeze)`),
  )
  let chunk = ''
  for (let i = 0; i < traces; i++) {
    chunk += `${Object.values(rowAt(i)).map(fieldOf).join('\t')}\n`
    if (chunk.length < CHUNK_LENGTH) continue
    if (!stream.write(chunk)) await once(stream, 'drain')
    chunk = ''
  }
  stream.end(chunk)
  await once(stream, 'finish')
}

/** A value in the text form of COPY (https://www.postgresql.org/docs/current/sql-copy.html, "Text Format"). */
function fieldOf(value: unknown): string {
  if (value === null) return '\\N'
  if (value instanceof Date) return value.toISOString()
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value)
  return /[\\\n\r\t]/.test(text)
    ? text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('\r', '\\r').replaceAll('\t', '\\t')
    : text
}
