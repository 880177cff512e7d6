// Searches over enough traces for Postgres to choose between its ways: what they find, page by page and back, against looking through
// all traces by hand; and which way they take.
import { type Month, monthOf, partitionName } from '@stepwell/protocol'
import { TraceQuery } from '@stepwell/query'
import type { TestDatabase } from '@stepwell/testkit'
import { createDatabase } from '@stepwell/testkit/vitest'
import fc from 'fast-check'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { recordingClient, type Statement } from '../bench/recorded-statements.ts'
import { FROM_MS, type MadeTrace, MONTHS, makeTraces, ROLLED_FROM_MS, TO_MS } from './many-traces.ts'

type Filters = NonNullable<Parameters<TraceQuery['findTraces']>[0]>

const COUNT = 60_000
let database: TestDatabase
let pool: pg.Pool
let query: TraceQuery
let all: MadeTrace[]
const sent: Statement[] = []

beforeAll(async () => {
  database = await createDatabase()
  all = await makeTraces(database.url, COUNT)
  pool = new pg.Pool({
    connectionString: database.url,
    max: 2,
    Client: recordingClient(sent),
  } as pg.PoolConfig)
  query = new TraceQuery(pool)
})
afterAll(async () => {
  await query.close()
  await pool.end()
  await database.drop()
})

/** What a search should find, newest first. */
const byHand = (f: Filters): string[] =>
  all.filter((trace) => matches(trace, f)).map(({ trace_id }) => trace_id)

function matches(trace: MadeTrace, f: Filters): boolean {
  const ms = Number(trace.started_us) / 1_000
  const duration = trace.total_duration_ms
  const holds = (has: unknown, wanted: unknown): boolean =>
    typeof wanted === 'object' && wanted !== null
      ? typeof has === 'object' &&
        has !== null &&
        Object.entries(wanted).every(([key, value]) => holds((has as Record<string, unknown>)[key], value))
      : has === wanted
  return (
    (f.skill === undefined || trace.skill_name === f.skill) &&
    (f.status === undefined || [f.status].flat().includes(trace.status as never)) &&
    (f.since === undefined || ms >= Number(f.since)) &&
    (f.until === undefined || ms <= Number(f.until)) &&
    (f.minDurationMs === undefined || (duration !== null && duration >= f.minDurationMs)) &&
    (f.maxDurationMs === undefined || (duration !== null && duration <= f.maxDurationMs)) &&
    (f.metadata === undefined || holds(trace.metadata, f.metadata)) &&
    (f.stepName === undefined || trace.steps.some(([, name]) => name === f.stepName)) &&
    (f.failedStep === undefined ||
      (trace.status === 'failed' &&
        trace.steps.some(([, name, , , bad]) => bad === 1 && name === f.failedStep))) &&
    (f.errorText === undefined ||
      (trace.status === 'failed' &&
        f.errorText.split(' ').every((word) => trace.error_message?.split(' ').includes(word)))) &&
    (f.executionId === undefined || trace.execution_id === f.executionId) &&
    (f.parentTraceId === undefined || trace.parent_trace_id === f.parentTraceId) &&
    (f.rootTraceId === undefined || trace.root_trace_id === f.rootTraceId)
  )
}

const child = (): MadeTrace => all.find(({ parent_trace_id }) => parent_trace_id !== null) as MadeTrace
const DAY_MS = 86_400_000

/** Values of every frequency, some of which no trace has. */
const anyFilters = (): fc.Arbitrary<Filters> =>
  fc.record(
    {
      skill: fc.constantFrom('common', 'rare', 'skill-7', 'none'),
      status: fc.constantFrom<Filters['status'] & {}>(
        'failed',
        'timeout',
        'running',
        'success',
        ['failed', 'timeout'],
        ['running', 'success'],
      ),
      since: fc.integer({ min: FROM_MS, max: FROM_MS + 60 * DAY_MS }),
      until: fc.integer({ min: FROM_MS + 60 * DAY_MS, max: TO_MS }),
      minDurationMs: fc.constantFrom(0, 5, 1_000, 236_000),
      maxDurationMs: fc.constantFrom(236_000, 240_000, 1e9),
      metadata: fc.constantFrom(
        { env: 'prod' },
        { env: 'dev' },
        { user: 'user-17' },
        { flag: true },
        { git: { branch: 'b-1' } },
        { env: 'prod', git: { branch: 'b-1' } },
        { user: 'nobody' },
      ),
      stepName: fc.constantFrom('load', 'step-3', 'rare-step', 'none'),
      failedStep: fc.constantFrom('step-3', 'rare-step', 'load'),
      errorText: fc.constantFrom('refused', 'host refused', '17', 'refused 3', 'nothing'),
      executionId: fc.constantFrom('exec-7', 'none'),
      parentTraceId: fc.constant(child().parent_trace_id as string),
      rootTraceId: fc.constant(child().root_trace_id as string),
    },
    { requiredKeys: [] },
  )

test('any filters, forth and back: what looking through all traces finds, in its order', async () => {
  await fc.assert(
    fc.asyncProperty(anyFilters(), fc.integer({ min: 1, max: 300 }), async (filters, limit) => {
      const expected = byHand(filters)
      let page = await query.findTraces({ ...filters, limit })
      const seen = [page]
      while (page.nextCursor !== undefined && seen.length < 4) {
        page = await query.findTraces({ ...filters, limit, cursor: page.nextCursor })
        seen.push(page)
      }
      const ids = seen.flatMap(({ traces }) => traces.map(({ traceId }) => traceId))
      expect(ids).toEqual(expected.slice(0, limit * seen.length))
      expect(page.nextCursor === undefined).toBe(ids.length === expected.length)
      // Back, to the very same pages.
      for (let at = seen.length - 2; at >= 0; at--) {
        page = await query.findTraces({ ...filters, limit, cursor: page.previousCursor as string })
        expect(page.traces).toEqual(seen[at]?.traces)
        expect(page.nextCursor).toBe(seen[at]?.nextCursor)
      }
      expect(page.previousCursor).toBeUndefined()
    }),
    { numRuns: 60, seed: 20 },
  )
})

interface PlanNode {
  'Node Type': string
  'Relation Name'?: string
  'Index Name'?: string
  'Actual Loops': number
  'Actual Rows': number
  'Rows Removed by Filter'?: number
  'Rows Removed by Index Recheck'?: number
  Plans?: PlanNode[]
}

/** What Postgres does to answer: the statements again, each that reads traces explained. */
async function plansOf(ask: () => PromiseLike<unknown>): Promise<PlanNode[]> {
  sent.length = 0
  await ask()
  const client = await pool.connect()
  const plans: PlanNode[] = []
  for (const { text, values } of [...sent]) {
    const isOfTraces = /^\s*(select|with)\b[\s\S]*\bexecution_traces\b/.test(text)
    const { rows } = await client.query(
      isOfTraces ? `explain (analyze, timing off, format json) ${text}` : text,
      values,
    )
    if (isOfTraces) plans.push(...nodesOf(rows[0]['QUERY PLAN'][0].Plan))
  }
  client.release()
  return plans
}

const nodesOf = (node: PlanNode): PlanNode[] => [node, ...(node.Plans ?? []).flatMap(nodesOf)]

const LAST_MONTH = { since: TO_MS - 20 * DAY_MS, until: TO_MS - DAY_MS }

test.each<[name: string, filters: Filters]>([
  ['nothing', {}],
  ['a common skill', { skill: 'common' }],
  ['a rare skill', { skill: 'rare' }],
  ['a common status', { status: 'success' }],
  ['failures', { status: 'failed' }],
  ['a rare status', { status: 'timeout' }],
  ['a status that nobody has', { status: 'running', until: TO_MS - 80 * DAY_MS }],
  ['several statuses', { status: ['failed', 'timeout'] }],
  ['a skill and a status', { skill: 'skill-7', status: 'failed' }],
  ['a common skill and a status that none of it has', { skill: 'common', status: 'failed' }],
  ['a duration that many have', { minDurationMs: 100 }],
  ['a duration that few have', { minDurationMs: 236_000 }],
  ['a short duration that few have', { maxDurationMs: 1.01 }],
  ['a duration of a skill', { skill: 'common', minDurationMs: 236_000 }],
  ['metadata that half have', { metadata: { env: 'prod' } }],
  ['metadata that five have', { metadata: { flag: true } }],
  ['nested metadata', { metadata: { git: { branch: 'b-1' } } }],
  ['metadata and a skill that do not go together', { skill: 'skill-7', metadata: { env: 'prod' } }],
  ['a step that all have', { stepName: 'load' }],
  ['a step of a skill', { skill: 'rare', stepName: 'load' }],
  ['a failing step', { failedStep: 'step-3' }],
  ['a failing step that none fails in', { failedStep: 'load' }],
  ['a word that all messages have', { errorText: 'refused' }],
  ['words that few messages have', { errorText: 'host 17' }],
  ['words that no message has', { errorText: 'refused nothing' }],
  ['words and a skill', { errorText: 'refused 17', skill: 'skill-7' }],
  ['an execution', { executionId: 'exec-300' }],
  ['a status of an execution', { executionId: 'exec-300', status: 'success' }],
  [
    'a step and metadata of an execution',
    { executionId: 'exec-300', stepName: 'none', metadata: { env: 'dev' } },
  ],
  ['a step of an execution', { executionId: 'exec-300', stepName: 'load' }],
  ['a parent', { parentTraceId: '0' }],
  ['a root', { rootTraceId: '0' }],
  [
    'all at once',
    { skill: 'skill-7', status: 'failed', metadata: { env: 'dev' }, minDurationMs: 5, stepName: 'load' },
  ],
])('%s: by indexes, in the months of the window, and few traces are looked at', async (_, given) => {
  const { parent_trace_id: parent, root_trace_id: root } = child()
  const filters = {
    ...given,
    ...(given.parentTraceId === undefined ? {} : { parentTraceId: parent as string }),
    ...(given.rootTraceId === undefined ? {} : { rootTraceId: root as string }),
  }
  for (const window of [{}, LAST_MONTH]) {
    const asked = { ...filters, ...window }
    const expected = byHand(asked).slice(0, 50)
    let found: unknown
    const plans = await plansOf(async () => {
      found = (await query.findTraces({ ...asked, limit: 50 })).traces.map(({ traceId }) => traceId)
    })
    expect(found).toEqual(expected)
    // Months that nothing is in yet are read whatever way.
    const scans = plans.filter((node) => MONTHS.map(partitionName).includes(node['Relation Name'] ?? ''))
    expect(scans.length).toBeGreaterThan(0)
    expect(
      scans.filter((node) => node['Node Type'] === 'Seq Scan').map((node) => node['Relation Name']),
    ).toEqual([])
    if (window === LAST_MONTH)
      expect(new Set(scans.map((node) => node['Relation Name']))).toEqual(
        new Set([partitionName(MONTHS[2] as Month)]),
      )
    expect(lookedAt(scans)).toBeLessThan(COUNT / 2)
  }
})

/** How many traces were looked at, in all. */
const lookedAt = (plans: readonly PlanNode[]): number =>
  plans
    .filter((node) => MONTHS.map(partitionName).includes(node['Relation Name'] ?? ''))
    .reduce(
      (sum, node) =>
        sum +
        node['Actual Loops'] *
          (node['Actual Rows'] +
            (node['Rows Removed by Filter'] ?? 0) +
            (node['Rows Removed by Index Recheck'] ?? 0)),
      0,
    )

test.each<[name: string, filters: Filters]>([
  ['few have', { stepName: 'rare-step' }],
  ['few of a common skill have', { stepName: 'rare-step', skill: 'common' }],
  ['few that went well have', { stepName: 'rare-step', status: 'success' }],
  ['nobody has', { stepName: 'none' }],
])(
  'a step that %s: where rollups know it, hardly more traces are looked at than at first',
  async (_, given) => {
    expect(LAST_MONTH.since).toBeGreaterThanOrEqual(ROLLED_FROM_MS)
    const filters = { ...given, ...LAST_MONTH }
    let found: unknown
    const plans = await plansOf(async () => {
      found = (await query.findTraces(filters)).traces.map(({ traceId }) => traceId)
    })
    expect(found).toEqual(byHand(filters))
    expect(lookedAt(plans)).toBeLessThan(1_000)
  },
)

test.each<[name: string, filters: Filters]>([
  ['of all', { minDurationMs: 200_000 }],
  ['of a skill', { minDurationMs: 200_000, skill: 'common' }],
  ['of failures', { minDurationMs: 200_000, status: 'failed' }],
])(
  'a duration that is the bound of a class, %s: its index finds none but those that match',
  async (_, filters) => {
    const plans = await plansOf(() => query.findTraces(filters))
    const ofClasses = plans.filter((node) => /width_bucket|duration_class/.test(node['Index Name'] ?? ''))
    expect(ofClasses.length).toBeGreaterThan(0)
    const matching = all.filter((trace) => matches(trace, filters)).length
    expect(Math.max(...ofClasses.map((node) => node['Actual Rows']))).toBeLessThanOrEqual(matching)
  },
)

test.each<[name: string, filters: Filters]>([
  ['of a skill', { skill: 'skill-7', minDurationMs: 5 }],
  ['of several statuses', { status: ['failed', 'timeout'], metadata: { env: 'dev' } }],
])(
  'where a few hundred traces are not enough it goes on in the order of time, %s: no month is fetched and sorted',
  async (_, filters) => {
    const plans = await plansOf(() => query.findTraces({ ...filters, limit: 1_000 }))
    // At the first ones, which are numbered, and then at more.
    expect(plans.filter((node) => node['Node Type'] === 'WindowAgg')).toHaveLength(1)
    expect(sent.some(({ text }) => /with ties/.test(text))).toBe(true)
    const others = plans.filter((node) => /^(Sort|Seq Scan|Bitmap)/.test(node['Node Type']))
    expect(others.map((node) => `${node['Node Type']} ${node['Relation Name'] ?? ''}`)).toEqual([])
  },
)

test.each<[name: string, filters: Filters]>([
  ['of a common skill', { skill: 'common', metadata: { git: { branch: 'b-2' } } }],
  ['of a skill', { skill: 'skill-7', metadata: { git: { branch: 'b-37' } } }],
  ['of failures', { status: 'failed', metadata: { n: 1, git: { branch: 'b-1' } } }],
  ['of failures of a skill', { status: 'failed', skill: 'skill-7', metadata: { git: { branch: 'b-27' } } }],
])(
  'metadata that few have, %s: the index that gives the order tells which, and hardly any others are looked at',
  async (_, filters) => {
    const expected = byHand(filters).slice(0, 20)
    let found: unknown
    const plans = await plansOf(async () => {
      found = (await query.findTraces({ ...filters, limit: 20 })).traces.map(({ traceId }) => traceId)
    })
    expect(found).toEqual(expected)
    expect(expected.length).toBeGreaterThan(10)
    const passed = plans.filter((node) => node['Node Type'] === 'Index Only Scan')
    expect(lookedAt(passed)).toBeGreaterThan(3 * expected.length)
    // Of one in fifty it is not known (many-traces.ts).
    expect(lookedAt(plans) - lookedAt(passed)).toBeLessThan(expected.length + lookedAt(passed) / 25 + 5)
    const others = plans.filter((node) => /^(Sort|Seq Scan|Bitmap)/.test(node['Node Type']))
    expect(others.map((node) => `${node['Node Type']} ${node['Relation Name'] ?? ''}`)).toEqual([])
  },
)

test('two things that many traces have, and hardly any both', async () => {
  const filters: Filters = { skill: 'common', metadata: { env: 'dev' } }
  const expected = byHand(filters)
  expect(expected).toHaveLength(6)
  const { traces } = await query.findTraces(filters)
  expect(traces.map(({ traceId }) => traceId)).toEqual(expected)
})

test('a trace by its id: one row of one partition, and one more probe for an id that tells no time', async () => {
  const some = all[1_234] as MadeTrace
  const plans = await plansOf(() => query.getTrace(some.trace_id))
  expect(plans.map((node) => [node['Node Type'], node['Relation Name'], node['Actual Rows']])).toEqual([
    ['Limit', undefined, 1],
    ['Index Scan', expect.stringMatching(/^execution_traces_\d{4}_\d\d$/), 1],
  ])
  const foreign = '6f1c2d3e-0000-4000-8000-0123456789ab'
  const insert = (startedAt: string) =>
    pool.query(
      `insert into execution_traces (trace_id, started_at, skill_name) values ($1, ${startedAt}, $2)`,
      [foreign, startedAt],
    )
  await insert(`to_timestamp(${FROM_MS} / 1000)`)
  expect(await query.getTrace(foreign)).toMatchObject({ startedAt: new Date(FROM_MS) })
  await insert('now()')
  const probes = await plansOf(() => query.getTrace(foreign))
  expect(probes.flatMap((node) => node['Relation Name'] ?? [])).toEqual([partitionName(monthOf(Date.now()))])
  await pool.query('delete from execution_traces where trace_id = $1', [foreign])
})
