import { addMonths, type Month, monthBounds, monthOf, partitionName } from '@stepwell/protocol'
import { sql } from 'kysely'
import { type Database, qualified } from './database.ts'
import { listPartitions } from './partitions.ts'
import {
  classSql,
  classText,
  expiryMs,
  KEEP_MIN_DAYS,
  OTHER_CLASS,
  type RetentionPolicy,
  RUNNING_CLASS,
  sortRules,
} from './retention-policy.ts'

/** Share of a month that must be past its time for the month to be rewritten: each rewrite copies all that stays. */
export const REWRITE_MIN_SHARE = 0.05

/** What of a month is past its time, as the policy alone says: nothing was looked at. */
export interface MonthDue {
  month: Month
  /** The classes that go, by their rules' numbers; `rules.length` stands for traces that no rule speaks of. Empty: nothing goes. */
  goes: number[]
  /** All that is not running goes, by `keepMonths`. */
  whole: boolean
  /** The same as a text. */
  lookedFor: string
}

/**
 * The oldest month that `keepMonths` keeps. A month that is over stays for as long as a class is kept at least: what is written to it is not
 * noted before, and would be lost to a rewrite.
 */
export function oldestKept(keepMonths: number, nowMs: number): Month {
  return addMonths(monthOf(nowMs - KEEP_MIN_DAYS * DAY_MS), 1 - keepMonths)
}

const DAY_MS = 86_400_000

/** What of a month is past its time. `rules` of the policy sorted. */
export function dueOf(month: Month, { rules, keepMonths }: RetentionPolicy, nowMs: number): MonthDue {
  const oldest = oldestKept(keepMonths, nowMs)
  const whole = keepMonths > 0 && monthBounds(month).toMs <= monthBounds(oldest).fromMs
  if (whole) return { month, goes: [...rules.keys(), rules.length], whole, lookedFor: `${keepMonths} months` }
  const goes = [...rules.keys()].filter((i) => expiryMs(month, rules[i] as never) <= nowMs)
  // All rules are in it: another one takes traces from those that are past their time.
  const text = (i: number): string => `${goes.includes(i) ? '' : 'keep '}${classText(rules[i] as never)}`
  return { month, goes, whole, lookedFor: [...rules.keys()].map(text).join(', ') }
}

/** A class of a month, and what becomes of it. */
export interface PlannedClass {
  /** As `parseRetentionRules` reads it; `running`; or `others`, of which no rule speaks. */
  name: string
  traces: number
  /** About: with indexes, as the month's bytes are shared by what rows take. */
  bytes: number
  goes: boolean
  /** When all of it will have been kept long enough; undefined: never. */
  expiresAt?: Date
}

/** What becomes of a month, were retention applied now. */
export interface PlannedMonth {
  month: Month
  /** `drop` leaves nothing of it; `rewrite` copies what stays; `wait` leaves it as it is, for too little would go; `keep` too, for nothing would. */
  action: 'drop' | 'rewrite' | 'wait' | 'keep'
  /** With its indexes. */
  bytes: number
  /** Traces and classes are counted only where something is past its time; else about, as Postgres last knew, and without classes. */
  traces: number
  removedTraces: number
  removedBytes: number
  classes: PlannedClass[]
}

/**
 * What applying the policy would do, month by month, oldest first. Changes nothing. Months of which something is past its time are
 * read whole (about 0.2 s a million traces); for the others the catalogue tells about how large they are.
 */
export async function planRetention(
  database: Database,
  policy: RetentionPolicy,
  options: { nowMs: number; months?: readonly Month[] | undefined; minShare?: number | undefined },
): Promise<PlannedMonth[]> {
  const sorted = { ...policy, rules: sortRules(policy.rules) }
  const planned: PlannedMonth[] = []
  for (const month of options.months ?? (await listPartitions(database)))
    planned.push(
      await planMonth(
        database,
        sorted,
        dueOf(month, sorted, options.nowMs),
        options.minShare ?? REWRITE_MIN_SHARE,
      ),
    )
  return planned
}

async function planMonth(
  database: Database,
  { rules }: RetentionPolicy,
  { month, goes, whole }: MonthDue,
  minShare: number,
): Promise<PlannedMonth> {
  const { db, schema } = database
  const name = qualified(schema, partitionName(month))
  const known = await sql<{ bytes: string; about: number }>`
    select pg_total_relation_size(c.oid) as bytes, greatest(c.reltuples, 0)::float8 as about
      from pg_class c where c.oid = to_regclass(${name})`.execute(db)
  const bytes = Number(known.rows[0]?.bytes ?? 0)
  const about = Math.round(known.rows[0]?.about ?? 0)
  const nothing = { month, bytes, removedTraces: 0, removedBytes: 0 }
  if (goes.length === 0) return { ...nothing, action: 'keep', traces: about, classes: [] }
  // What a row takes apart from its texts is much the same; what is stored out of line tells its size without being read.
  const { rows } = await sql<{ class: number; traces: string; size: string }>`
    select ${classSql(rules)} as class, count(*) as traces,
           sum(${sql.lit(ROW_BYTES)} + pg_column_size(steps) + pg_column_size(metadata) + coalesce(pg_column_size(error_message), 0)
               + coalesce(pg_column_size(merge_state), 0)) as size
      from ${sql.table(name)} group by 1 order by 1`.execute(db)
  const size = rows.reduce((sum, row) => sum + Number(row.size), 0)
  const classes = rows.map((row): PlannedClass => {
    const rule = rules[row.class]
    return {
      name: row.class < 0 ? RUNNING_CLASS : rule === undefined ? OTHER_CLASS : classText(rule),
      traces: Number(row.traces),
      bytes: Math.round((bytes * Number(row.size)) / size),
      goes: goes.includes(row.class),
      ...(rule === undefined ? {} : { expiresAt: new Date(expiryMs(month, rule)) }),
    }
  })
  const total = (of: 'traces' | 'bytes', some: readonly PlannedClass[]): number =>
    some.reduce((sum, one) => sum + one[of], 0)
  const going = classes.filter((one) => one.goes)
  const [traces, removedTraces] = [total('traces', classes), total('traces', going)]
  const plan = { month, bytes, traces, removedTraces, removedBytes: total('bytes', going), classes }
  if (removedTraces === traces && (whole || traces > 0))
    return { ...plan, removedBytes: bytes, action: 'drop' }
  if (removedTraces === 0) return { ...plan, action: 'keep' }
  return { ...plan, action: removedTraces < traces * minShare ? 'wait' : 'rewrite' }
}

const ROW_BYTES = 130
