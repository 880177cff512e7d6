import type { Json } from '@stepwell/protocol'
import { type Kysely, type RawBuilder, sql } from 'kysely'
import type * as z from 'zod'
import { countedIn, failureCounts } from './failure-counts.ts'
import { decodeGroupCursor, encodeGroupCursor, type GroupPosition } from './group-cursor.ts'
import type { failureGroupsSchema } from './input.ts'
import { withExtent } from './read-rollups.ts'
import type { RollupExtent } from './rollup-cover.ts'
import { millisecondsOf, type Tables } from './tables.ts'

/** Failures that are one: their messages differ only in what varies. */
export interface FailureGroupSummary {
  /** 16 hexadecimal digits; leads to the group for good, though another id may be its own once it has become one with others. */
  groupId: string
  /** What the messages have in common, with `<*>` for what varies. */
  pattern: string
  /** Failures of the window. */
  count: number
  /** Of all failures of the window that have a message, 0 to 1. */
  share: number
  /** Patterns of the window: more than one where names differ. */
  patternCount: number
  /** The first failure ever stored, whatever the window. */
  firstSeen: Date
  /** The last one of the window. */
  lastSeen: Date
  /** The last one, as an example. */
  latest: FailureExample
  /** What people wrote to it. */
  notes: FailureNote[]
}

/** A failed trace of a group. */
export interface FailureExample {
  traceId: string
  skillName: string
  startedAt: Date
  errorMessage: string
  failedStep?: string
}

/** What people wrote to a group. */
export interface FailureNote {
  note: string
  updatedAt: Date
}

/** Groups, those with the most failures first. */
export interface FailureGroupPage {
  groups: FailureGroupSummary[]
  /** All failures of the window that have a message. */
  failureCount: number
  /** Where there are more. */
  nextCursor?: string
}

/** What is asked. */
export type FailureGroupsRequest = z.output<typeof failureGroupsSchema>

interface GroupRow {
  group_id: string
  pattern: string
  count: string
  total: string
  patterns: string
  first_seen_ms: string
  last_seen_ms: string
  trace_id: string
  skill_name: string
  error_message: string
  failed_step: string | null
}

/** An id of a group as people see it, of one as tables have it. */
export const groupIdText = (id: string): string =>
  BigInt.asUintN(64, BigInt(id)).toString(16).padStart(16, '0')

/** The failures of a window by group: from rollups where there are, those of a skill once through an index of failures alone. */
export function listGroups(
  db: Kysely<Tables>,
  named: (table: string) => string,
  asked: FailureGroupsRequest,
): Promise<FailureGroupPage> {
  return withExtent(db, (trx, extent) => listIn(trx, extent, named, asked))
}

async function listIn(
  trx: Kysely<Tables>,
  extent: RollupExtent,
  named: (table: string) => string,
  { cursor, ...asked }: FailureGroupsRequest,
): Promise<FailureGroupPage> {
  const { skill, limit } = asked
  const filters: Json = { skill: skill ?? null }
  const after = cursor === undefined ? undefined : decodeGroupCursor(cursor, filters)
  // The times of the first page are those of all: what arrives meanwhile does not shift them.
  const { since, until, newSince } = after === undefined ? asked : timesOf(after)
  const traces = sql.table(named('execution_traces'))
  const patterns = sql.table(named('failure_patterns'))
  const ofSkill = skill === undefined ? sql`` : sql`and skill_name = ${skill}`
  const counts =
    skill === undefined
      ? await failureCounts(trx, extent, traces, { since, until })
      : countedIn(traces, sql`started_at >= ${since} and started_at <= ${until} ${ofSkill}`)
  const { rows } = await sql<GroupRow>`
    with counted as materialized (${counts}
    ), grouped as (
      select group_id, sum(count)::bigint as count, count(*) as patterns, newest as last_seen,
             array_agg(pattern_id) filter (where last_seen = newest) as last_patterns
        from (select *, max(last_seen) over (partition by group_id) as newest from counted join ${patterns} using (pattern_id)) ranked
       group by group_id, newest
    ), page as (
      select g.*, s.first_seen
        from grouped g join (select group_id, min(first_seen) as first_seen from ${patterns} group by group_id) s using (group_id)
       where true ${newSince === undefined ? sql`` : sql`and first_seen >= ${newSince}`}
             ${after === undefined ? sql`` : sql`and (count < ${after.count} or count = ${after.count} and group_id > ${after.groupId})`}
       order by count desc, group_id
       limit ${limit + 1}
    )
    select page.group_id, coalesce(general, pattern, '') as pattern, count, (select sum(count)::bigint from counted) as total, patterns,
           ${millisecondsOf(sql.ref('page.first_seen'))} as first_seen_ms, ${millisecondsOf(sql.ref('last_seen'))} as last_seen_ms,
           trace_id, skill_name, error_message, failed_step
      from page left join ${patterns} p on p.pattern_id = page.group_id
     cross join lateral (
       select trace_id, skill_name, error_message, failed_step from ${traces}
        where failure_pattern = any(last_patterns) and started_at = last_seen ${ofSkill}
        order by trace_id desc limit 1) latest
     order by count desc, group_id`.execute(trx)
  const total = rows[0]?.total ?? (await totalOf(trx, counts))
  const shown = rows.slice(0, limit)
  const notes = await notesOf(
    trx,
    named,
    shown.map((row) => row.group_id),
  )
  const last = shown.at(-1)
  const position: GroupPosition | undefined = last && {
    count: last.count,
    groupId: last.group_id,
    sinceMs: since.getTime(),
    untilMs: until.getTime(),
    newSinceMs: newSince?.getTime() ?? null,
  }
  return {
    groups: shown.map((row) => summaryOf(row, notes.get(row.group_id) ?? [])),
    failureCount: Number(total),
    ...(rows.length > limit && position !== undefined
      ? { nextCursor: encodeGroupCursor(position, filters) }
      : {}),
  }
}

/** How many failures that is, of a table of how often each pattern failed. */
export async function totalOf(trx: Kysely<Tables>, counts: RawBuilder<unknown>): Promise<string> {
  const { rows } = await sql<{ total: string }>`
    select coalesce(sum(count), 0)::bigint as total from (${counts}) as counted`.execute(trx)
  return rows[0]?.total ?? '0'
}

const timesOf = ({
  sinceMs,
  untilMs,
  newSinceMs,
}: GroupPosition): { since: Date; until: Date; newSince: Date | undefined } => ({
  since: new Date(sinceMs),
  until: new Date(untilMs),
  newSince: newSinceMs === null ? undefined : new Date(newSinceMs),
})

function summaryOf(row: GroupRow, notes: FailureNote[]): FailureGroupSummary {
  const lastSeen = new Date(Number(row.last_seen_ms))
  return {
    groupId: groupIdText(row.group_id),
    pattern: row.pattern,
    count: Number(row.count),
    share: Number(row.count) / Number(row.total),
    patternCount: Number(row.patterns),
    firstSeen: new Date(Number(row.first_seen_ms)),
    lastSeen,
    latest: {
      traceId: row.trace_id,
      skillName: row.skill_name,
      startedAt: lastSeen,
      errorMessage: row.error_message,
      ...(row.failed_step === null ? {} : { failedStep: row.failed_step }),
    },
    notes,
  }
}

/** What was written to these groups, the newest first; to whichever of their patterns. */
export async function notesOf(
  db: Pick<Kysely<Tables>, 'getExecutor'>,
  named: (table: string) => string,
  groupIds: readonly string[],
): Promise<Map<string, FailureNote[]>> {
  const notes = new Map<string, FailureNote[]>()
  if (groupIds.length === 0) return notes
  const { rows } = await sql<{ group_id: string; note: string; updated_ms: string }>`
    select group_id, note, ${millisecondsOf(sql.ref('updated_at')) as RawBuilder<string>} as updated_ms
      from ${sql.table(named('failure_notes'))} join ${sql.table(named('failure_patterns'))} using (pattern_id)
     where group_id = any(${groupIds}::bigint[])
     order by updated_at desc, pattern_id`.execute(db)
  for (const { group_id, note, updated_ms } of rows) {
    const some = notes.get(group_id) ?? []
    notes.set(group_id, some)
    some.push({ note, updatedAt: new Date(Number(updated_ms)) })
  }
  return notes
}
