import { once } from 'node:events'
import { ExecutionTracer } from '@stepwell/client'
import { memorySink } from '@stepwell/client/testing'
import type { Delta } from '@stepwell/protocol'
import { openDatabase, refreshRollups, type TraceDeltas, TraceWriter } from '@stepwell/storage'
import pg from 'pg'
import { from as copyFrom, to as copyTo } from 'pg-copy-streams'
import { serve } from '../contender.ts'
import { postgresCpuMs } from '../cpu-time.ts'
import { recordingClient, type Statement } from '../recorded-statements.ts'
import { type Load, recordShortRun } from './load.ts'

// The floor: rows from memory, by one process with as many connections as a worker writes on. Redis, producers and workers rest.

/** What to send; for another load the rows are made in memory first. */
export interface FloorTask extends Load {
  /**
   * `upsert`: the statements that the trace writer sends for these rows, sent again; `writer`: the trace writer itself, so decoded
   * deltas are assembled too; `copy`: one COPY a connection; `rollup`: what the job of the workers does with them afterwards, once.
   */
  way: 'upsert' | 'writer' | 'copy' | 'rollup'
}

/** Traces a second, and microseconds of CPU a trace. */
export type FloorSample = Record<'tracesPerSecond' | 'workerCpu' | 'postgresCpu' | 'cpu', number>

/** What is sent; or what is made into it, for what lies in memory costs who collects garbage, and the floor has to do nothing but send. */
interface Prepared {
  load: Load
  sends: boolean
  batches: TraceDeltas[][]
  statements: Statement[]
  copies: Buffer[]
}

/** As many as a worker's batches hold and writes it has on their way. */
const BATCH = 500
const CONNECTIONS = 3
const HOUR_MS = 3_600_000

const [databaseUrl] = process.argv.slice(2) as [string]
const pool = new pg.Pool({ connectionString: databaseUrl, max: CONNECTIONS })
let prepared: Prepared | undefined

serve(async ({ way, ...load }: FloorTask): Promise<FloorSample> => {
  const sends = way === 'upsert' || way === 'copy'
  const isThere =
    prepared?.load.traces === load.traces && prepared.load.kind === load.kind && prepared.sends === sends
  if (prepared === undefined || !isThere) prepared = await prepare(load, sends)
  const { batches, statements, copies } = prepared
  await clear()
  await using writing = writerOn(pg.Client)
  if (way === 'rollup') await each(batches, (batch) => writing.writer.write(batch))
  const before = { own: process.cpuUsage(), postgres: await postgresCpuMs(pool) }
  const startMs = performance.now()
  if (way === 'upsert') await each(statements, (statement) => pool.query(statement))
  else if (way === 'rollup') await rollUp(load.traces)
  else if (way === 'writer') await each(batches, (batch) => writing.writer.write(batch))
  else await each(copies, copyIn)
  const wallMs = performance.now() - startMs
  const { user, system } = process.cpuUsage(before.own)
  const postgresMs = (await postgresCpuMs(pool)) - before.postgres
  const { rows } = await pool.query<{ n: number }>('select count(*)::int as n from execution_traces')
  if (rows[0]?.n !== load.traces) throw new Error(`${rows[0]?.n} of ${load.traces} rows are there`)
  const workerCpu = (user + system) / load.traces
  const postgresCpu = (postgresMs * 1_000) / load.traces
  return {
    tracesPerSecond: (load.traces * 1_000) / wallMs,
    workerCpu,
    postgresCpu,
    cpu: workerCpu + postgresCpu,
  }
})

async function prepare(load: Load, sends: boolean): Promise<Prepared> {
  const batches = await makeBatches(load)
  if (!sends) return { load, sends, batches, statements: [], copies: [] }
  await clear()
  const statements: Statement[] = []
  await using writing = writerOn(recordingClient(statements))
  for (const batch of batches) await writing.writer.write(batch)
  const upserts = statements.filter(({ text }) => /^\s*insert/i.test(text))
  return { load, sends, batches: [], statements: upserts, copies: await copyOut() }
}

/** The deltas of the load, as a worker has them when it has read and decoded them. */
async function makeBatches({ kind, traces }: Load): Promise<TraceDeltas[][]> {
  const sink = memorySink()
  const tracer = new ExecutionTracer({ sink })
  for (let i = 0; i < traces; i++) {
    recordShortRun(tracer, i, { kind })
    if (i % 500 === 0) await tracer.flush()
  }
  await tracer.close()
  const all = sink.frames
    .flatMap((frame) => JSON.parse(frame.deltas) as Delta[])
    .map((delta): TraceDeltas => {
      const startedAtMs = Number.parseInt(delta.t.replaceAll('-', '').slice(0, 12), 16)
      return { traceId: delta.t, startedAtMs, said: [{ producer: '', delta }], known: false }
    })
  return Array.from({ length: Math.ceil(all.length / BATCH) }, (_, i) =>
    all.slice(i * BATCH, (i + 1) * BATCH),
  )
}

/** The trace writer as workers use it, on connections of this class. */
function writerOn(Client: typeof pg.Client): { writer: TraceWriter } & AsyncDisposable {
  const own = new pg.Pool({ connectionString: databaseUrl, max: CONNECTIONS, Client } as pg.PoolConfig)
  const database = openDatabase(own)
  return {
    writer: new TraceWriter(database),
    [Symbol.asyncDispose]: async () => {
      await database.close()
      await own.end()
    },
  }
}

/** All rows in the text form of COPY, cut in as many pieces as there are connections. */
async function copyOut(): Promise<Buffer[]> {
  const client = await pool.connect()
  try {
    const chunks: Buffer[] = []
    for await (const chunk of client.query(
      copyTo('copy (select * from execution_traces) to stdout'),
    ) as AsyncIterable<Buffer>)
      chunks.push(chunk)
    const text = Buffer.concat(chunks)
    const cuts = Array.from({ length: CONNECTIONS }, (_, i) =>
      i === 0 ? 0 : text.indexOf('\n', (text.length * i) / CONNECTIONS) + 1,
    )
    return cuts.map((cut, i) => text.subarray(cut, cuts[i + 1]))
  } finally {
    client.release()
  }
}

async function copyIn(rows: Buffer): Promise<void> {
  const client = await pool.connect()
  try {
    const stream = client.query(copyFrom('copy execution_traces from stdin'))
    stream.end(rows)
    await once(stream, 'finish')
  } finally {
    client.release()
  }
}

/** As if all that was written had settled. */
async function rollUp(traces: number): Promise<void> {
  const database = openDatabase(pool)
  for (let rolled = 0; rolled < traces; ) {
    // Workers of the pipeline have the job too.
    const report = await refreshRollups(database, { nowMs: Date.now() + HOUR_MS, budgetMs: HOUR_MS })
    rolled += report?.traces ?? 0
    if (report?.traces === 0) throw new Error('the marks are gone')
  }
  await database.close()
}

async function clear(): Promise<void> {
  await pool.query('truncate execution_traces, execution_rollup_marks')
  await pool.query('checkpoint')
}

/** Works off the list on all connections. */
async function each<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  let next = 0
  const one = async (): Promise<void> => {
    while (next < items.length) await work(items[next++] as T)
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, one))
}
