import { setImmediate } from 'node:timers/promises'
import { groupPatternsInSteps, type PatternGroup } from '@stepwell/protocol/failures'
import { sql } from 'kysely'
import { type Database, qualified } from './database.ts'

/** So long it computes before it gives way. */
const TURN_MS = 10
/** Patterns that are grouped at once, those seen last: a second of computing. Older ones stay in the groups that they are in. */
const PATTERNS_MAX = 20_000

interface StoredPattern {
  pattern_id: string
  group_id: string
  pattern: string
  general: string | null
}

/** What grouping did. */
export interface RegroupedFailures {
  patterns: number
  groups: number
  /** Patterns that went over to another group. */
  moved: number
}

/**
 * Puts patterns into groups (docs/adr/0007-failure-groups.md). Groups only grow: patterns that are together stay so, and of groups that become
 * one the id of the largest stays, of equally large ones that of the oldest. A pattern that is new is a group of its own until then. Idempotent; undefined where another does it just
 * now. Takes 0.1 s of CPU for 1,000 patterns, a second for 20,000, in turns of 10 ms between which other work goes on.
 */
export function regroupFailures({ db, schema }: Database): Promise<RegroupedFailures | undefined> {
  const name = qualified(schema, 'failure_patterns')
  const table = sql.table(name)
  return db.transaction().execute(async (trx) => {
    const { rows: locks } = await sql<{ free: boolean }>`
      select pg_try_advisory_xact_lock(hashtext('stepwell.failure_groups'), hashtext(to_regclass(${name})::oid::text)) as free`.execute(
      trx,
    )
    if (!locks[0]?.free) return undefined
    const { rows: patterns } = await sql<StoredPattern>`
      select pattern_id, group_id, pattern, general
        from (select * from ${table} order by seen_until desc, pattern_id limit ${PATTERNS_MAX}) newest
       order by first_seen, pattern_id`.execute(trx)
    const computed = await inTurns(groupPatternsInSteps(patterns.map(({ pattern }) => pattern)))
    const groupOf = newGroups(patterns, computed)
    const names = namesOf(patterns, computed, groupOf)
    const isMoved = (one: StoredPattern): boolean => groupOf.get(one.pattern_id) !== one.group_id
    const nameOf = (one: StoredPattern): string | null => names.get(one.pattern_id) ?? null
    const changed = patterns.filter((one) => isMoved(one) || nameOf(one) !== one.general)
    if (changed.length > 0)
      await sql`
        with changed as (
          select * from unnest(${changed.map((one) => one.pattern_id)}::bigint[], ${changed.map((one) => groupOf.get(one.pattern_id))}::bigint[],
                               ${changed.map(nameOf)}::text[]) as c (pattern_id, group_id, general)
        ), locked as (
          select p.pattern_id, c.group_id, c.general from ${table} p join changed c on c.pattern_id = p.pattern_id order by p.pattern_id for update of p
        )
        update ${table} p set group_id = l.group_id, general = l.general from locked l where l.pattern_id = p.pattern_id`.execute(
        trx,
      )
    const groups = new Set(groupOf.values()).size
    return { patterns: patterns.length, groups, moved: changed.filter(isMoved).length }
  })
}

async function inTurns<T>(steps: Generator<unknown, T>): Promise<T> {
  for (let fromMs = performance.now(); ; ) {
    const { done, value } = steps.next()
    if (done) return value
    if (performance.now() - fromMs < TURN_MS) continue
    await setImmediate()
    fromMs = performance.now()
  }
}

/** What the groups have in common, by their ids, where that is not the pattern that has the id. */
function namesOf(
  patterns: readonly StoredPattern[],
  computed: readonly PatternGroup[],
  groupOf: ReadonlyMap<string, string>,
): Map<string, string> {
  const nameOf = new Map(
    computed.flatMap(({ pattern, members }) => members.map((member) => [member, pattern])),
  )
  const names = new Map<string, string>()
  for (const { pattern_id, pattern } of patterns) {
    const name = nameOf.get(pattern)
    if (groupOf.get(pattern_id) === pattern_id && name !== undefined && name !== pattern)
      names.set(pattern_id, name)
  }
  return names
}

/** The group of each pattern. Given the oldest first. */
function newGroups(
  patterns: readonly StoredPattern[],
  computed: readonly PatternGroup[],
): Map<string, string> {
  const leaders = new Map<string, string>()
  const leaderOf = (id: string): string => {
    let leader = id
    for (let next = leaders.get(leader); next !== undefined && next !== leader; next = leaders.get(leader))
      leader = next
    return leader
  }
  const ages = new Map(patterns.map(({ pattern_id }, i) => [pattern_id, i]))
  const sizes = new Map<string, number>()
  for (const { group_id } of patterns) sizes.set(group_id, (sizes.get(group_id) ?? 0) + 1)
  /** The larger of two groups, else the older; one of older patterns than these is older than all. */
  const isFirst = (a: string, b: string): boolean => {
    const difference = (sizes.get(a) ?? 0) - (sizes.get(b) ?? 0)
    return difference > 0 || (difference === 0 && (ages.get(a) ?? -1) <= (ages.get(b) ?? -1))
  }
  const unite = (one: string, other: string): void => {
    const [a, b] = [leaderOf(one), leaderOf(other)]
    if (a === b) return
    const [leader, follower] = isFirst(a, b) ? [a, b] : [b, a]
    leaders.set(follower, leader)
  }
  const groups = new Map(patterns.map(({ pattern, group_id }) => [pattern, group_id]))
  for (const { members } of computed) {
    const [first, ...others] = members.map((member) => groups.get(member) as string)
    for (const other of others) unite(first as string, other)
  }
  return new Map(patterns.map(({ pattern_id, group_id }) => [pattern_id, leaderOf(group_id)]))
}
