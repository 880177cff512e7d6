import { type Kysely, sql } from 'kysely'
import type * as z from 'zod'
import { countedIn, failureCounts } from './failure-counts.ts'
import {
  type FailureExample,
  type FailureGroupSummary,
  groupIdText,
  notesOf,
  totalOf,
} from './failure-groups.ts'
import type { failureGroupSchema } from './input.ts'
import { withExtent } from './read-rollups.ts'
import type { RollupExtent } from './rollup-cover.ts'
import { millisecondsOf, type Tables } from './tables.ts'
import { cutWindow } from './time-buckets.ts'

/** A group of failures, and where and when they happened. */
export interface FailureGroup extends Omit<FailureGroupSummary, 'latest' | 'lastSeen'> {
  since: Date
  until: Date
  /** Absent where none failed in the window. */
  lastSeen?: Date
  /** The patterns that messages have, the newest first; at most `limit`, like the lists that follow. */
  patterns: string[]
  /** By number of failures. */
  skills: { skillName: string; count: number }[]
  skillCount: number
  /** By number of failures; those whose step is not known are in none. */
  steps: { stepName: string; count: number }[]
  stepCount: number
  /** The newest. */
  traces: FailureExample[]
  /** Piece by piece, with the empty ones, at most 61. */
  trend: { start: Date; end: Date; count: number }[]
}

/** What is asked. */
export type FailureGroupRequest = z.output<typeof failureGroupSchema>

const MINUTE_MS = 60_000
const PIECES_MAX = 60
const LENGTHS_MS = [1, 5, 15, 60, 180, 720, 1_440, 10_080, 43_200].map((minutes) => minutes * MINUTE_MS)

interface CountRow {
  skill_name: string | null
  failed_step: string | null
  piece: string | null
  kind: number
  count: string
  last_ms: string
}

/**
 * The group that has this pattern; undefined where there is none. Passes the failures of the group in the window, in an index; all others are counted
 * in rollups where there are, those of a skill in an index. All in one snapshot.
 */
export function readGroup(
  db: Kysely<Tables>,
  named: (table: string) => string,
  id: bigint,
  asked: FailureGroupRequest,
): Promise<FailureGroup | undefined> {
  return withExtent(db, (trx, extent) => readIn(trx, extent, named, id, asked))
}

async function readIn(
  db: Kysely<Tables>,
  extent: RollupExtent,
  named: (table: string) => string,
  id: bigint,
  { skill, since, until, limit }: FailureGroupRequest,
): Promise<FailureGroup | undefined> {
  const table = sql.table(named('failure_patterns'))
  const traces = sql.table(named('execution_traces'))
  const { rows: members } = await sql<{
    group_id: string
    pattern_id: string
    pattern: string
    name: string | null
    first_ms: string
  }>`
    select m.group_id, m.pattern_id, m.pattern, case when m.pattern_id = m.group_id then coalesce(m.general, m.pattern) end as name,
           ${millisecondsOf(sql.ref('m.first_seen'))} as first_ms
      from ${table} one join ${table} m on m.group_id = one.group_id
     where one.pattern_id = ${String(id)}::bigint
     order by m.seen_until desc, m.pattern_id`.execute(db)
  const [first] = members
  if (first === undefined) return undefined

  const window = { fromMs: since.getTime(), toMs: until.getTime() + 1 }
  const lengthMs =
    LENGTHS_MS.find((ms) => window.toMs - window.fromMs <= PIECES_MAX * ms) ??
    MINUTE_MS * Math.ceil((window.toMs - window.fromMs) / PIECES_MAX / MINUTE_MS)
  const ids = members.map((member) => member.pattern_id)
  const within = sql`failure_pattern = any(${ids}::bigint[]) and started_at >= ${since} and started_at <= ${until}
    ${skill === undefined ? sql`` : sql`and skill_name = ${skill}`}`
  const { rows: counts } = await sql<CountRow>`
    select skill_name, failed_step, piece, grouping(skill_name, failed_step, piece) as kind, count(*) as count,
           ${millisecondsOf(sql`max(started_at)`)} as last_ms
      from (select skill_name, failed_step, started_at, floor(extract(epoch from started_at) * 1000 / ${lengthMs}::bigint)::bigint as piece
              from ${traces} where ${within}) failures
     group by grouping sets ((skill_name), (failed_step), (piece), ())`.execute(db)
  const failures =
    skill === undefined
      ? await failureCounts(db, extent, traces, { since, until })
      : countedIn(traces, sql`started_at >= ${since} and started_at <= ${until} and skill_name = ${skill}`)
  const total = await totalOf(db, failures)
  const { rows: newest } = await sql<ExampleRow>`
    select n.trace_id, ${millisecondsOf(sql.ref('n.started_at'))} as started_ms, skill_name, error_message, failed_step
      from (select keys.* from unnest(${ids}::bigint[]) as member (pattern)
             cross join lateral (
               select trace_id, started_at from ${traces} where failure_pattern = pattern and ${within}
                order by started_at desc, trace_id desc limit ${limit}) keys
             order by started_at desc, trace_id desc limit ${limit}) n
      join ${traces} t on t.trace_id = n.trace_id and t.started_at = n.started_at
     order by n.started_at desc, n.trace_id desc`.execute(db)

  const notes = await notesOf(db, named, [first.group_id])
  const all = counts.find(({ kind }) => Number(kind) === 0b111)
  const count = Number(all?.count ?? 0)
  const ranked = (kind: number): CountRow[] =>
    counts
      .filter((row) => Number(row.kind) === kind && (row.skill_name ?? row.failed_step) !== null)
      .sort((a, b) => Number(b.count) - Number(a.count))
  const [skills, steps] = [ranked(0b011), ranked(0b101)]
  const pieces = cutWindow(window, lengthMs)
  const trend = pieces.spans.map(({ fromMs, toMs }) => ({
    start: new Date(fromMs),
    end: new Date(toMs),
    count: 0,
  }))
  for (const row of counts) {
    const piece = trend[pieces.indexOf(Number(row.piece) * lengthMs)]
    if (Number(row.kind) === 0b110 && piece !== undefined) piece.count += Number(row.count)
  }
  return {
    groupId: groupIdText(first.group_id),
    pattern: members.find(({ name }) => name !== null)?.name ?? first.pattern,
    since,
    until,
    count,
    share: count === 0 ? 0 : count / Number(total),
    patternCount: members.length,
    firstSeen: new Date(Math.min(...members.map((member) => Number(member.first_ms)))),
    ...(count === 0 ? {} : { lastSeen: new Date(Number(all?.last_ms)) }),
    patterns: members.slice(0, limit).map(({ pattern }) => pattern),
    skills: skills
      .slice(0, limit)
      .map((row) => ({ skillName: row.skill_name as string, count: Number(row.count) })),
    skillCount: skills.length,
    steps: steps
      .slice(0, limit)
      .map((row) => ({ stepName: row.failed_step as string, count: Number(row.count) })),
    stepCount: steps.length,
    traces: newest.map(exampleOf),
    trend,
    notes: notes.get(first.group_id) ?? [],
  }
}

interface ExampleRow {
  trace_id: string
  started_ms: string
  skill_name: string
  error_message: string
  failed_step: string | null
}

const exampleOf = (row: ExampleRow): FailureExample => ({
  traceId: row.trace_id,
  skillName: row.skill_name,
  startedAt: new Date(Number(row.started_ms)),
  errorMessage: row.error_message,
  ...(row.failed_step === null ? {} : { failedStep: row.failed_step }),
})
