// Every statement that worker, command line, TraceStorage and TraceQuery issue, as Postgres itself has logged it, against the rules
// of distributed tables.
import { addMonths, monthOf, newTraceId } from '@stepwell/protocol'
import { TraceQuery } from '@stepwell/query'
import {
  ensurePartitions,
  openDatabase,
  rebuildRollups,
  refreshRollups,
  TraceStorage,
} from '@stepwell/storage'
import { type PrivateServer, startPostgres, waitFor } from '@stepwell/testkit'
import { redisForFile } from '@stepwell/testkit/vitest'
import { createWorker } from '@stepwell/worker'
import { Redis } from 'ioredis'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FrameProducer, wholeDelta } from '../apps/worker/test/frame-producer.ts'
import { runCli } from './cli-bench.ts'
import { brokenRules, type Catalogue, plainSql } from './sql-rules.ts'

const SCHEMA = 'stepwell'
const DAY_MS = 86_400_000
let postgres: PrivateServer
let redisUrl: string
/** The test's own connection, which is told apart by its name. */
let own: pg.Pool

beforeAll(async () => {
  redisUrl = await redisForFile()
  postgres = await startPostgres({
    settings: {
      log_statement: 'all',
      logging_collector: 'on',
      log_destination: 'jsonlog',
      log_filename: 'statements',
      log_rotation_size: '0',
    },
  })
  own = new pg.Pool({ connectionString: postgres.url, application_name: 'test' })
  // `end` resolves before the connections have gone, and the server says goodbye to those by an error.
  own.on('error', () => {})
})
afterAll(async () => {
  await own.end()
  await postgres.stop()
})

/** What was issued so far, each statement once. */
async function statements(): Promise<string[]> {
  const { rows } = await own.query<{ log: string }>(
    "select pg_read_file(pg_current_logfile('jsonlog')) as log",
  )
  const found = new Set<string>()
  for (const line of (rows[0]?.log ?? '').split('\n').filter(Boolean)) {
    const entry = JSON.parse(line) as { message?: string; application_name?: string }
    const [, statement] = /^(?:statement|execute [^:]*): ([\s\S]*)$/.exec(entry.message ?? '') ?? []
    if (statement !== undefined && entry.application_name !== 'test') found.add(statement)
  }
  return [...found]
}

async function catalogue(): Promise<Catalogue> {
  // Of functions that share a name the least settled counts: i < s < v.
  const { rows } = await own.query(
    `select proname as name, max(provolatile::text) as volatility from pg_proc group by proname`,
  )
  const volatility = new Map(rows.map(({ name, volatility }) => [name, volatility]))
  const defaults = await own.query(
    `select c.relname as table, a.attname as column, pg_get_expr(d.adbin, d.adrelid) as expression
       from pg_attrdef d join pg_class c on c.oid = d.adrelid join pg_attribute a on a.attrelid = c.oid and a.attnum = d.adnum
      where c.relnamespace = $1::regnamespace and c.relname like 'execution%'`,
    [SCHEMA],
  )
  const madeByServer = new Map<string, string[]>()
  for (const { table, column, expression } of defaults.rows) {
    const [name] = /^\w+(?=\()/.exec(expression) ?? []
    if (name !== undefined && volatility.get(name) !== 'i')
      madeByServer.set(table, [...(madeByServer.get(table) ?? []), column])
  }
  return { volatility, madeByServer }
}

const rows = async (from: string): Promise<number> =>
  (await own.query(`select from ${SCHEMA}.${from}`)).rowCount ?? 0

/** Whole and open runs, checkpoints, corrections, late parts, rows and entries that are refused, timeouts, partitions, retention. */
async function letTheWorkerWork(): Promise<void> {
  const redis = new Redis(redisUrl)
  await using _worker = await createWorker({
    redis: redisUrl,
    database: postgres.url,
    schema: SCHEMA,
    checkpointMs: 100,
    retentionMonths: 1,
    deadLetterBounds: { maxLetters: 2, maxBytes: 1e6 },
    deadLetterMaxAgeMs: DAY_MS,
    health: { host: '127.0.0.1', port: 0 },
  })
  await own.query(
    `alter table ${SCHEMA}.execution_traces add constraint no_poison check (skill_name <> 'poison')`,
  )
  const producer = new FrameProducer(redis)
  const t = newTraceId(Date.now())
  const at = { t, k: 'open' }
  await producer.send({ ...at, b: 1, x: 'e-1', s: [[1, 'work', 0]], n: [1, 0] }, ...refused(3))
  await waitFor(() => rows(`execution_traces where trace_id = '${t}' and status = 'running'`), {
    what: 'a checkpoint',
  })
  await producer.send({ ...at, s: [[1, 'work', 0, 5]], n: [1, 1], e: ['f', 5, 5, 'connect refused'] })
  await waitFor(() => rows(`execution_traces where trace_id = '${t}' and status = 'failed'`), {
    what: 'the end',
  })
  await producer.send({ ...at, s: [[1, 'work', 0, 7, 1, null, null, null, 1]], n: [1, 1] })
  const other = newTraceId(Date.now())
  await producer.send({ t: other, b: 1, k: 'limited', l: 50, n: [0, 0] })
  await producer.send(wholeDelta('whole', 3), wholeDelta('poison', 1), wholeDelta('whole', 1))
  await waitFor(() => rows(`execution_traces where trace_id = '${other}' and status = 'timeout'`), {
    what: 'the timeout',
  })
  await waitFor(() => rows(`execution_traces where steps::text like '%7,1%'`), { what: 'the correction' })
  await waitFor(() => rows('execution_dead_letters_not_kept'), { what: 'letters over the bound' })
  // Jobs run one after the other, this one last.
  await waitFor(async () => (await rows("execution_dead_letters where letter_id = 'old'")) === 0, {
    what: 'the old letter is gone',
  })
  redis.disconnect()
}

const refused = (count: number): unknown[] =>
  Array.from({ length: count }, () => ({ ...wholeDelta('x', 1), n: 'none' }))

/** All methods, with all their options. A new one without a call here fails the test. */
async function useStorageAndQuery(): Promise<void> {
  const trace = (i: number) => ({
    traceId: newTraceId(Date.now() + i),
    skillName: 'stored',
    executionId: `stored-${i}`,
    startedAt: new Date(Date.now() + i),
  })
  const [first, second] = [trace(1), trace(2)]
  const foreign = '6f1c2d3e-0000-4000-8000-0123456789ab'
  const storage = new TraceStorage(postgres.url, { schema: SCHEMA })
  const stored: Record<keyof TraceStorage & string, () => Promise<unknown>> = {
    finalizeTrace: async () => {
      await storage.finalizeTrace(first, 'success')
      await storage.finalizeTrace(first, 'failed')
      await storage.finalizeTrace(second, 'success')
    },
    getTrace: async () => [await storage.getTrace(first.traceId), await storage.getTrace(foreign)],
    deleteTrace: async () => [await storage.deleteTrace(first.traceId), await storage.deleteTrace(foreign)],
    deleteExecution: () => storage.deleteExecution('stored-2'),
    close: () => storage.close(),
  }
  await callAll(TraceStorage.prototype, stored)

  const database = openDatabase(postgres.url, SCHEMA)
  await refreshRollups(database, { nowMs: Date.now() + DAY_MS })
  await rebuildRollups(database)
  await database.close()

  const query = new TraceQuery(postgres.url, { schema: SCHEMA })
  const filters = {
    skill: 'open',
    status: ['failed' as const],
    since: Date.now() - DAY_MS,
    until: Date.now() + DAY_MS,
    minDurationMs: 0,
    maxDurationMs: 1e9,
    metadata: { env: 'prod' },
    stepName: 'work',
    failedStep: 'work',
    errorText: 'refused',
    executionId: 'e-1',
    parentTraceId: foreign,
    rootTraceId: foreign,
  }
  const window = { since: filters.since, until: filters.until, limit: 5 }
  const asked: Record<keyof TraceQuery & string, () => Promise<unknown>> = {
    queryBySkill: () => query.queryBySkill('open'),
    findSimilarFailures: async () => {
      await query.findSimilarFailures('connect refused')
      await query.findSimilarFailures('connect refused', { ...window, skill: 'open' })
    },
    listFailureGroups: async () => {
      const { nextCursor } = await query.listFailureGroups({
        ...window,
        limit: 1,
        skill: 'open',
        newSince: 0,
      })
      if (nextCursor !== undefined) await query.listFailureGroups({ cursor: nextCursor })
    },
    getFailureGroup: async () => {
      const { groups } = await query.listFailureGroups()
      await query.getFailureGroup(groups[0]?.groupId as string, { skill: 'open' })
    },
    getTrace: async () => [await query.getTrace(first.traceId), await query.getTrace(foreign)],
    getSummaries: () => query.getSummaries([first.traceId, foreign]),
    getTraceByExecutionId: () => query.getTraceByExecutionId('e-1'),
    getTraceId: () => query.getTraceId('e-1'),
    findTraces: async () => {
      await query.findTraces(filters)
      for await (const _ of query.findTraces({ limit: 1 }));
    },
    findWholeTraces: async () => {
      for await (const _ of query.findWholeTraces());
      for await (const _ of query.findWholeTraces(filters));
    },
    explainFailures: async () => [
      await query.explainFailures(),
      await query.explainFailures({
        skill: 'open',
        sample: 10,
        baseline: { since: filters.since, until: filters.until },
        ...window,
      }),
    ],
    listRunning: () => query.listRunning({ skill: 'open' }),
    findStuck: () => query.findStuck({ skill: 'open' }),
    listSkills: async () => [await query.listSkills(), await query.listSkills(window)],
    skillStats: async () => [
      await query.skillStats(),
      await query.skillStats({ ...window, skill: 'open', bucket: 'hour' }),
    ],
    stepStats: () => query.stepStats({ skill: 'open', bucket: 'day' }),
    close: () => query.close(),
  }
  await callAll(TraceQuery.prototype, asked)
}

async function callAll(prototype: object, calls: Record<string, () => Promise<unknown>>): Promise<void> {
  const methods = Object.getOwnPropertyNames(prototype).filter((name) => name !== 'constructor')
  expect(Object.keys(calls).sort()).toEqual(methods.sort())
  for (const call of Object.values(calls)) await call()
}

/** The commands that have SQL of their own. */
async function useTheCommandLine(): Promise<void> {
  const env = { REDIS_URL: redisUrl, DATABASE_URL: postgres.url, STEPWELL_SCHEMA: SCHEMA }
  const run = async (...args: string[]): Promise<void> => {
    const { stderr } = await runCli(args, env)
    // What it finds is not what is asked here.
    expect(stderr, args.join(' ')).not.toMatch(/error|relation|syntax/i)
  }
  await Promise.all([
    run('doctor'),
    run('doctor', '--audit'),
    run('dead', 'list', '--reason', 'x'),
    run('dead', 'replay'),
    run('running'),
  ])
  const group = await own.query(
    `select lpad(to_hex(pattern_id), 16, '0') as id from ${SCHEMA}.failure_patterns limit 1`,
  )
  await Promise.all([run('failures', 'rebuild', '--all'), run('failures', 'note', group.rows[0].id, 'x')])
  await Promise.all([run('dead', 'drop', '--all'), run('delete', '--execution', 'e-1'), run('migrate')])
  // Late writes, and a month that is rewritten without some of them.
  await using storage = new TraceStorage(postgres.url, { schema: SCHEMA })
  for (const status of ['success', 'failed'] as const) {
    const startedAt = new Date(Date.now() - 70 * DAY_MS)
    await storage.finalizeTrace(
      { traceId: newTraceId(Number(startedAt)), skillName: 'old', startedAt },
      status,
    )
  }
  await run('retention', 'plan', '--keep', 'success=2d')
  await run('retention', 'apply', '--keep', 'success=2d')
}

/** Statements without which something was not seen. */
const SEEN: Record<string, RegExp> = {
  migration: /^create table execution_traces/,
  partition: /attach partition stepwell\.execution_traces_\d{4}_\d\d for values/,
  retention: /detach partition stepwell\.execution_traces_\d{4}_\d\d concurrently/,
  'late write': /insert into stepwell\.execution_late_writes /,
  rewrite: /^insert into stepwell\.execution_traces_\d{4}_\d\d_rewrite \(/,
  swap: /^lock table only stepwell\.execution_traces in access exclusive mode/,
  upsert: /^insert into stepwell\.execution_traces as t .* where t\.version = excluded\.version - 1/,
  'marks of a write': /^insert into stepwell\.execution_rollup_marks \(due_at, minutes\) values/,
  'row read for an upsert': /merge_state, version from stepwell\.execution_traces/,
  'sweep of lost traces': /merge_state ->> '' is null and ingested_at < /,
  'dead letter': /^insert into stepwell\.execution_dead_letters \(/,
  'dead letter not kept': /^insert into stepwell\.execution_dead_letters_not_kept/,
  'dead letter expired': /^delete from stepwell\.execution_dead_letters where letter_id in \(select/,
  'dead letters by reason': /from stepwell\.execution_dead_letters group by reason/,
  'dead letter dropped': /^delete from stepwell\.execution_dead_letters where letter_id in \(\$1/,
  'delete of a trace': /^delete from stepwell\.execution_traces where trace_id = /,
  'delete of an execution': /^delete from stepwell\.execution_traces where execution_id = /,
  'traces to roll up':
    /^declare rows no scroll cursor for select .* from stepwell\.execution_traces where started_at >= /,
  rollups: /^insert into stepwell\.execution_rollups \(/,
  'marks that stay': /^insert into stepwell\.execution_rollup_marks/,
  'state of the rollups': /^update stepwell\.execution_rollup_state set/,
  'statistics from rollups': /cross join lateral \(select \* from stepwell\.execution_rollups as r where/,
  'similar failures': /^select similarity, count/,
  'a note': /^insert into stepwell\.failure_notes/,
  'groups of failures': /group by grouping sets/,
  'a new message': /^insert into stepwell\.failure_signatures as s /,
  'a page': /\(started_at, trace_id\) < /,
}

test('every statement that is issued, and the schema, keep the rules of distributed tables', async () => {
  const database = openDatabase({ connectionString: postgres.url, application_name: 'test' }, SCHEMA)
  await runCli(['migrate'], { DATABASE_URL: postgres.url, STEPWELL_SCHEMA: SCHEMA })
  await ensurePartitions(database, [addMonths(monthOf(Date.now()), -2)])
  await own.query(
    `insert into ${SCHEMA}.execution_dead_letters values ('old', 's', '1-0', 'epoch', 'epoch', 1, null, null, 'r', '[]')`,
  )
  await database.close()
  await letTheWorkerWork()
  await useStorageAndQuery()
  await useTheCommandLine()

  const found = await statements()
  const plain = found.map(plainSql)
  const unseen = Object.entries(SEEN).filter(([, pattern]) => !plain.some((sql) => pattern.test(sql)))
  expect(unseen.map(([name]) => name)).toEqual([])
  const known = await catalogue()
  const broken = found.flatMap((one) =>
    brokenRules(one, known).map((rule) => `${rule}: ${one.slice(0, 500)}`),
  )
  expect(broken).toEqual([])

  const keys = await own.query(
    `select c.relname as table, array_agg(a.attname::text order by a.attname) filter (where a.attname in ('trace_id', 'started_at')) as held
       from pg_index i join pg_class c on c.oid = i.indrelid join pg_attribute a on a.attrelid = c.oid and a.attnum = any(i.indkey)
      where i.indisunique and c.relnamespace = $1::regnamespace and c.relname ~ '^execution_traces' group by i.indexrelid, c.relname`,
    [SCHEMA],
  )
  expect(keys.rows.length).toBeGreaterThan(4)
  for (const { table, held } of keys.rows)
    expect({ table, held }).toEqual({ table, held: ['started_at', 'trace_id'] })
  const triggers = `select tgname as name from pg_trigger where not tgisinternal union all select rulename from pg_rules where schemaname = $1`
  expect((await own.query(triggers, [SCHEMA])).rows).toEqual([])
})

test.each([
  [
    'insert into execution_traces (trace_id, started_at, ingested_at) values ($1, $2, now())',
    /^now in a write: its value is made by the server$/,
  ],
  [
    'insert into execution_traces (trace_id, started_at) values ($1, $2)',
    /^execution_traces\.ingested_at is left to its default/,
  ],
  [
    'insert into execution_traces (trace_id, started_at, ingested_at) values ($1, $2, $3) on conflict (trace_id) do update set status = excluded.status',
    /^on conflict \(trace_id\): a unique key must hold/,
  ],
  [
    upsertThatSets('metadata = to_jsonb(excluded.metadata)'),
    /^to_jsonb in (do update is not immutable|a write)/,
  ],
  [upsertThatSets('metadata = jsonb_build_object($4, $5)'), /^jsonb_build_object in/],
  [upsertThatSets('status = (select status from execution_traces limit 1)'), /^a sub-select in do update$/],
  [upsertThatSets("completed_at = '2026-01-01'::timestamptz"), /^a cast in do update/],
  [upsertThatSets('ingested_at = current_timestamp'), /^current_timestamp in/],
  [upsertThatSets('total_duration_ms = random()'), /^volatile function random/],
  [`${upsertThatSets('status = excluded.status')} returning (xmax = 0)`, /^xmax/],
  [
    'with a as (insert into t (b) values (random()) returning b) select b from a',
    /^volatile function random/,
  ],
  ['update execution_traces set ingested_at = clock_timestamp()', /^volatile function clock_timestamp/],
  ['create trigger t before insert on execution_traces execute function f()', /^a trigger/],
])('a broken rule is seen: %s', async (statement, rule) => {
  expect(brokenRules(statement, await catalogue())).toContainEqual(expect.stringMatching(rule))
})

function upsertThatSets(set: string): string {
  return `insert into "stepwell"."execution_traces" as t (trace_id, started_at, ingested_at) values ($1, $2, $3) on conflict (trace_id, started_at) do update set ${set}`
}
