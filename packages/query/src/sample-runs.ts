import type { JsonObject, TraceStatus } from '@stepwell/protocol'
import { StoredSteps } from '@stepwell/protocol/statistics'
import { type Kysely, type RawBuilder, sql } from 'kysely'
import type { RunFacts } from './run-counts.ts'
import type { Tables } from './tables.ts'
import { allOf, timeOf } from './trace-list.ts'

/** Which runs to take a sample of. */
export interface SampleRequest {
  /** The table, with its schema. */
  table: string
  skill?: string | undefined
  since: Date
  until: Date
  /** Those that failed or timed out, or those that went well. */
  ended: 'badly' | 'well'
  /** Runs at most. */
  size: number
}

/** Runs that stand for all of a window. */
export interface RunSample {
  runs: RunFacts[]
  /** How many there are in the window. */
  of: number
  /** There are more: they were not counted to the end. */
  ofTruncated: boolean
}

/** Spans of equal length that a window is cut into. */
const SLICES = 200
/** Runs of any end that are looked at for one that went well. */
const LOOK_MAX = 20
const COUNT_MAX = 100_000
const STEPS_MAX = 500_000
const STEPS_A_FETCH = 20_000
const ROUNDS = 4
/** Of the runs that are wanted so many may be lacking: to ask again for these takes as long as for all. */
const LACKING_SHARE = 0.02

const BAD: readonly TraceStatus[] = ['failed', 'timeout']

interface Picked {
  slice: number
  trace_id: string
  started_us: string
  step_count: number
}

/**
 * A sample of the runs of a window, evenly over its time: all if there are not more than wanted; else as many of each of 200 slices,
 * and more of those that have more where others have too few. Costs so many rows, whatever the window holds. Steps are read in
 * parts, and 500,000 at most: of runs with very many, fewer runs are taken.
 */
export async function sampleRuns(db: Kysely<Tables>, request: SampleRequest): Promise<RunSample> {
  // First, for the index tells it in a millisecond: to look for one more run than is wanted may mean to read twenty times as many.
  const counts = await countRuns(db, request)
  const picked = await pickRuns(db, request, counts)
  const steps = picked.reduce((sum, { step_count }) => sum + Number(step_count), 0)
  const taken = evenly(picked, Math.max(1, Math.floor((picked.length * STEPS_MAX) / Math.max(1, steps))))
  const runs: RunFacts[] = []
  for (let at = 0; at < taken.length; ) {
    const part: Picked[] = []
    for (let left = STEPS_A_FETCH; at < taken.length && left > 0; at++) {
      const one = taken[at] as Picked
      part.push(one)
      left -= Number(one.step_count)
    }
    runs.push(...(await factsOf(db, request.table, part)))
  }
  return { runs, of: Math.max(counts.of, picked.length), ofTruncated: counts.ofTruncated }
}

async function pickRuns(
  db: Kysely<Tables>,
  request: SampleRequest,
  { of, ofAnyEnd }: RunCounts,
): Promise<Picked[]> {
  if (of <= request.size && ofAnyEnd <= request.size * LOOK_MAX)
    return firstOfSlices(db, request, [0], 1, request.size)
  const count = Math.min(SLICES, request.size)
  const bySlice = new Map<number, Picked[]>()
  let slices = Array.from({ length: count }, (_, i) => i)
  let quota = Math.floor(request.size / count)
  for (let round = 0; round < ROUNDS; round++) {
    const rows = await firstOfSlices(db, request, slices, count, quota)
    for (const slice of slices) bySlice.set(slice, [])
    for (const row of rows) bySlice.get(row.slice)?.push(row)
    slices = slices.filter((slice) => bySlice.get(slice)?.length === quota)
    const lacking = request.size - [...bySlice.values()].reduce((sum, { length }) => sum + length, 0)
    if (lacking <= request.size * LACKING_SHARE || slices.length === 0) break
    quota += Math.max(1, Math.floor(lacking / slices.length))
    slices = evenly(slices, lacking)
  }
  return [...bySlice].sort(([a], [b]) => a - b).flatMap(([, runs]) => runs)
}

/** At most so many of a list, evenly over it. */
function evenly<T>(list: readonly T[], most: number): T[] {
  const before = (i: number): number => Math.floor((i * Math.min(most, list.length)) / list.length)
  return list.filter((_, i) => before(i) < before(i + 1))
}

/** The first runs of each of these slices of the window. */
async function firstOfSlices(
  db: Kysely<Tables>,
  request: SampleRequest,
  slices: readonly number[],
  ofSlices: number,
  quota: number,
): Promise<Picked[]> {
  const { table, since, until, ended } = request
  const sliceMs = (until.getTime() - since.getTime() + 1) / ofSlices
  const at = (i: RawBuilder<unknown>): RawBuilder<Date> =>
    sql`${since}::timestamptz + ${i} * ${sliceMs}::float8 * interval '1 millisecond'`
  const conditions = [
    ...conditionsOf(request),
    sql<boolean>`started_at >= ${at(sql`slice`)}`,
    sql<boolean>`started_at < ${at(sql`(slice + 1)`)}`,
  ]
  const first = (more: readonly RawBuilder<boolean>[], count: number): RawBuilder<unknown> =>
    sql`(select trace_id, started_at, step_count, status from ${sql.table(table)}
          where ${allOf([...conditions, ...more])} order by started_at limit ${count})`
  const runs =
    ended === 'badly'
      ? sql`${sql.join(
          BAD.map((status) => first([sql`status = ${status}`], quota)),
          sql` union all `,
        )}`
      : sql`select * from ${first([], quota * LOOK_MAX)} as looked where status = 'success'`
  const { rows } = await sql<Picked>`
    select slice, trace_id, (extract(epoch from started_at) * 1000000)::bigint::text as started_us, step_count
      from unnest(${slices}::integer[]) as slice cross join lateral
           (select * from (${runs}) as ended order by started_at limit ${quota}) as run
     order by slice, run.started_at`.execute(db)
  return rows
}

function conditionsOf({ skill, since, until }: SampleRequest): RawBuilder<boolean>[] {
  const window = sql<boolean>`started_at >= ${since} and started_at <= ${until}`
  return skill === undefined ? [window] : [sql`skill_name = ${skill}`, window]
}

async function factsOf(db: Kysely<Tables>, table: string, part: readonly Picked[]): Promise<RunFacts[]> {
  const [first, last] = [part[0] as Picked, part.at(-1) as Picked]
  const { rows } = await sql<{ skill_name: string; metadata: unknown; steps: string }>`
    select skill_name, metadata, steps::text as steps from ${sql.table(table)}
     where trace_id = any(${part.map(({ trace_id }) => trace_id)}::uuid[])
       and started_at >= ${timeOf(first.started_us)} and started_at <= ${timeOf(last.started_us)}`.execute(db)
  /** The steps of a run of the skill: most others have the same. */
  const likely = new Map<string, RunFacts['steps']>()
  return rows.map(({ skill_name: skillName, metadata, steps: text }) => {
    const before = likely.get(skillName) ?? []
    stored.read(text, before)
    const steps = stepsOf(stored, before)
    if (steps.length > before.length) likely.set(skillName, steps)
    return { skillName, metadata: parsed(metadata) as JsonObject, steps }
  })
}

const stored = new StoredSteps()

/** A name once, with all that its runs took: loops of thousands of steps become one. `likely` has each name once. */
function stepsOf({ count, names, durations }: StoredSteps, likely: RunFacts['steps']): RunFacts['steps'] {
  const steps: { name: string; durationMs: number | undefined }[] = []
  for (let i = 0; i < count; i++) {
    if (names[i] !== likely[i]?.name) return mergedSteps(count, names, durations)
    steps.push({ name: names[i] as string, durationMs: durations[i] ?? undefined })
  }
  return steps
}

function mergedSteps(
  count: number,
  names: readonly string[],
  durations: readonly (number | null)[],
): RunFacts['steps'] {
  const took = new Map<string, number | undefined>()
  for (let i = 0; i < count; i++) {
    const [name, durationMs] = [names[i] as string, durations[i]]
    const before = took.get(name)
    took.set(name, durationMs == null ? before : (before ?? 0) + durationMs)
  }
  return Array.from(took, ([name, durationMs]) => ({ name, durationMs }))
}

const parsed = (json: unknown): unknown => (typeof json === 'string' ? JSON.parse(json) : json)

interface RunCounts {
  of: number
  ofTruncated: boolean
  /** Those that ended otherwise, or not yet, with them. */
  ofAnyEnd: number
}

/** Counts by indexes alone: runs that went well are what is left of all. */
async function countRuns(db: Kysely<Tables>, request: SampleRequest): Promise<RunCounts> {
  const count = (more: readonly RawBuilder<boolean>[]): RawBuilder<string> =>
    sql`(select count(*) from (select from ${sql.table(request.table)}
          where ${allOf([...conditionsOf(request), ...more])} limit ${COUNT_MAX + 1}) as counted)`
  const ofStatus = (status: TraceStatus): RawBuilder<string> => count([sql`status = ${status}`])
  const isWell = request.ended === 'well'
  const { rows } = await sql<Record<'bad' | 'running' | 'any_end', string>>`
    select ${sql.join(BAD.map(ofStatus), sql` + `)} as bad,
           ${isWell ? ofStatus('running') : sql`0`} as running,
           ${isWell ? count([]) : sql`0`} as any_end`.execute(db)
  const [bad, running, anyEnd] = [rows[0]?.bad, rows[0]?.running, rows[0]?.any_end].map(Number) as [
    number,
    number,
    number,
  ]
  const of = isWell && anyEnd <= COUNT_MAX ? anyEnd - bad - running : isWell ? anyEnd : bad
  return { of: Math.min(of, COUNT_MAX), ofTruncated: of > COUNT_MAX, ofAnyEnd: isWell ? anyEnd : bad }
}
