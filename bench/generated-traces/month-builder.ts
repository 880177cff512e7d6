// Builds one month of traces: rows by COPY into a table without indexes, which are made when it is attached. `month-builder.ts <url>`.
import { once } from 'node:events'
import {
  type Month,
  metadataBits,
  monthBounds,
  partitionName,
  rowOfState,
  type TraceRow,
} from '@stepwell/protocol'
import { failedStep } from '@stepwell/protocol/failures'
import {
  FailureCatalogue,
  type MessageMarks,
  messageMarks,
  type Occurrence,
  openDatabase,
} from '@stepwell/storage'
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
const CATALOGUE_BATCH = 5_000

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
  const failures = new Failures()
  await copyRows(partition, task, failures)
  await failures.enter(task.schema)
  await client.query(
    `alter table ${parent} attach partition ${partition} for values from (${bound(fromMs)}) to (${bound(toMs)})`,
  )
  await client.query('commit')
  await client.query(`vacuum (analyze) ${partition}`)
  return { ms: performance.now() - startMs }
})

/** What failures are found by: of each message worked out once, with its first and its last occurrence. */
class Failures {
  readonly #messages = new Map<string, { marks: MessageMarks; firstMs: number; lastMs: number }>()

  columnsOf(row: TraceRow): Record<string, bigint | string | null> {
    const { status, error_message: message } = row
    const failed_step = status === 'failed' || status === 'timeout' ? failedStep(status, row.steps) : null
    if (status !== 'failed' || message === null)
      return { error_signature: null, failure_pattern: null, failed_step }
    const startedMs = row.started_at.getTime()
    const known = this.#messages.get(message) ?? {
      marks: messageMarks(message),
      firstMs: startedMs,
      lastMs: 0,
    }
    known.lastMs = startedMs
    this.#messages.set(message, known)
    return { error_signature: known.marks.signature, failure_pattern: known.marks.patternId, failed_step }
  }

  async enter(schema: string): Promise<void> {
    const database = openDatabase(databaseUrl, schema)
    const catalogue = new FailureCatalogue(database)
    const occurrences = [...this.#messages.values()].flatMap(({ marks, firstMs, lastMs }): Occurrence[] =>
      [firstMs, lastMs].map((startedAtMs) => ({ marks, startedAtMs })),
    )
    for (let i = 0; i < occurrences.length; i += CATALOGUE_BATCH)
      await catalogue.enter(occurrences.slice(i, i + CATALOGUE_BATCH), Date.now())
    await database.close()
  }
}

async function copyRows(
  table: string,
  { fromMs, toMs, traces, ...variety }: MonthTask,
  failures: Failures,
): Promise<void> {
  const make = traceMaker(variety, seededRandom(fromMs))
  const rowAt = (i: number) => {
    const startedAtMs = Math.floor(fromMs + ((toMs - fromMs) * i) / traces)
    const row = rowOfState(make(startedAtMs))
    const metadata_bits = metadataBits(JSON.stringify(row.metadata), 1)
    return { ...row, ...failures.columnsOf(row), metadata_bits, ingested_at: new Date(startedAtMs) }
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
