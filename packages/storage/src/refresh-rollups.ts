import {
  clipped,
  type MinuteRange,
  minuteOf,
  parseRanges,
  unionOf,
  widened,
  without,
} from '@stepwell/protocol/statistics'
import { CompiledQuery, sql, type Transaction } from 'kysely'
import { type Database, qualified } from './database.ts'
import { type DueRanges, insertMarks } from './rollup-marks.ts'
import { mergeRollups, mergeWeeks, nextSpan, removeRollups, rollTraces } from './rollup-rows.ts'
import { WEEK } from './rollup-writer.ts'
import type { Tables } from './tables.ts'

const HOUR = 60
const DAY = 1_440
/** Days of which minutes are kept; before them there are hours. */
const MINUTES_KEPT_DAYS = 3
/** No trace starts before this minute. */
export const EARLIEST_MINUTE = minuteOf(Date.UTC(2000, 0, 1))
/** Who stands still in the middle of it gives way to others. */
const STANDSTILL_TIMEOUT = '30s'

/** Of what there are rollups, in minutes since 1970. */
export interface RollupState {
  /** There are none of what started before. */
  rolledFrom: number
  /** Those of minutes begin here, those of hours and days end here. */
  minutesFrom: number
  hoursUntil: number
  daysUntil: number
}

/** What a call of `refreshRollups` did. */
export interface RefreshReport {
  /** Traces that were read. */
  traces: number
  /** Whether there is more to do at once. */
  isBehind: boolean
  /** Where rollups begin, milliseconds since 1970: a rebuild goes backwards; undefined when it is done. */
  rolledFromMs: number | undefined
}

/**
 * Brings the rollups up to date: what was marked and has settled is rolled up anew from the traces, with the hours and days around it;
 * then, where a rebuild is under way, an hour further back. In one transaction, from one snapshot: the marks that it sees go with it, and
 * a write that it does not see keeps its mark. So it may end anywhere, run twice or not at all: readers take what is marked from the
 * traces. One at a time does the work; undefined: another is at it. Stops soon after `budgetMs` (default: 3,000).
 * Costs 5 to 10 µs of CPU a trace of ten steps. Throws what `pg` throws.
 */
export async function refreshRollups(
  database: Database,
  { nowMs, budgetMs = 3_000 }: { nowMs: number; budgetMs?: number },
): Promise<RefreshReport | undefined> {
  const untilMs = Date.now() + budgetMs
  return database.db
    .transaction()
    .setIsolationLevel('repeatable read')
    .execute(async (trx) => {
      await sql`set local idle_in_transaction_session_timeout = ${sql.lit(STANDSTILL_TIMEOUT)}`.execute(trx)
      const state = await lockState(trx)
      if (state === undefined) return undefined
      const refresh = new Refresh(trx, state, await takeMarks(trx), nowMs)
      await refresh.rollDue(untilMs)
      await refresh.goBack(untilMs)
      await refresh.merge()
      const left = refresh.left.filter(({ ranges }) => ranges.length > 0)
      if (left.length > 0) {
        const table = qualified(database.schema, 'execution_rollup_marks')
        await trx.executeQuery(CompiledQuery.raw(insertMarks(table, left)))
      }
      await refresh.saveState()
      const { rolledFrom } = refresh.state
      return {
        traces: refresh.traces,
        isBehind: refresh.isBehind || rolledFrom > EARLIEST_MINUTE,
        rolledFromMs: rolledFrom > EARLIEST_MINUTE ? rolledFrom * 60_000 : undefined,
      }
    })
}

const minuteText = (column: string) =>
  sql<number>`floor(extract(epoch from ${sql.ref(column)}) / 60)::integer`

/** The state, locked till the end of the transaction; undefined where another has it. */
async function lockState(trx: Transaction<Tables>): Promise<RollupState | undefined> {
  const row = await trx
    .selectFrom('execution_rollup_state')
    .select([
      minuteText('rolled_from').as('rolledFrom'),
      minuteText('minutes_from').as('minutesFrom'),
      minuteText('hours_until').as('hoursUntil'),
      minuteText('days_until').as('daysUntil'),
    ])
    .forUpdate()
    .skipLocked()
    .executeTakeFirst()
  return row
}

/** Removes the marks that there are, and gives them. */
async function takeMarks(trx: Transaction<Tables>): Promise<DueRanges[]> {
  const rows = await trx
    .deleteFrom('execution_rollup_marks')
    .returning([
      sql<string>`minutes::text`.as('minutes'),
      sql<number>`extract(epoch from due_at)::float8`.as('due'),
    ])
    .execute()
  return rows.map(({ minutes, due }) => ({ dueMs: Number(due) * 1_000, ranges: parseRanges(minutes) }))
}

/** One run: marks → due (rolled up anew) or left → hours and days around → state. */
class Refresh {
  readonly state: RollupState
  traces = 0
  isBehind = false
  /** What is to be marked again. */
  left: DueRanges[]
  readonly #trx: Transaction<Tables>
  readonly #nowMs: number
  readonly #before: RollupState
  #due: MinuteRange[]
  /** Minutes, and hours, that were rolled up from traces; hours and days that have become complete. */
  readonly #minutes: MinuteRange[] = []
  readonly #hours: MinuteRange[] = []
  readonly #newHours: MinuteRange[]
  readonly #newDays: MinuteRange[]

  constructor(trx: Transaction<Tables>, state: RollupState, marks: readonly DueRanges[], nowMs: number) {
    this.#trx = trx
    this.#nowMs = nowMs
    this.#before = state
    const now = minuteOf(nowMs)
    const begun = (width: number): number => Math.floor(now / width) * width
    // Never back, whosever clock it is.
    this.state = {
      rolledFrom: state.rolledFrom,
      minutesFrom: Math.max(state.minutesFrom, begun(DAY) - MINUTES_KEPT_DAYS * DAY),
      hoursUntil: Math.max(state.hoursUntil, begun(HOUR)),
      daysUntil: Math.max(state.daysUntil, begun(DAY)),
    }
    this.#newHours = [[state.hoursUntil, this.state.hoursUntil]]
    this.#newDays = [[state.daysUntil, this.state.daysUntil]]
    // What started before is read in going back.
    const own = (ranges: readonly MinuteRange[]): MinuteRange[] =>
      clipped(unionOf(ranges), state.rolledFrom, Number.MAX_SAFE_INTEGER)
    this.#due = own(marks.flatMap(({ dueMs, ranges }) => (dueMs <= nowMs ? ranges : [])))
    const waiting = Map.groupBy(
      marks.filter(({ dueMs }) => dueMs > nowMs),
      ({ dueMs }) => dueMs,
    )
    this.left = [...waiting].map(([dueMs, list]) => ({
      dueMs,
      ranges: without(own(list.flatMap(({ ranges }) => ranges)), this.#due),
    }))
  }

  /** Rolls up what is due, the latest first, as far as time allows; the rest is left. */
  async rollDue(untilMs: number): Promise<void> {
    const { minutesFrom } = this.state
    const fine = clipped(this.#due, minutesFrom, Number.MAX_SAFE_INTEGER)
    const coarse = widened(clipped(this.#due, 0, minutesFrom), HOUR)
    const rest: MinuteRange[] = []
    for (const range of [...coarse, ...fine].reverse()) {
      const width = range[0] < minutesFrom ? HOUR : 1
      let at = range[0]
      if (Date.now() <= untilMs) {
        const rolled = await rollTraces(this.#trx, range, width, untilMs)
        at = rolled.at
        this.traces += rolled.traces
        this.#rolled([range[0], at], width)
      }
      if (at < range[1]) rest.push([at, range[1]])
    }
    this.isBehind = rest.length > 0
    if (rest.length > 0) this.left.push({ dueMs: this.#nowMs, ranges: unionOf(rest) })
  }

  /** Goes back from where rollups begin, an hour at a time, more where there is little, as far as time allows. */
  async goBack(untilMs: number): Promise<void> {
    let span = HOUR
    while (this.state.rolledFrom > EARLIEST_MINUTE && Date.now() <= untilMs) {
      const { rolledFrom, minutesFrom } = this.state
      const last = await this.#lastMinuteBefore(rolledFrom)
      const isFine = last !== undefined && last >= minutesFrom
      let from = EARLIEST_MINUTE
      if (last !== undefined) {
        const to = (Math.floor(last / HOUR) + 1) * HOUR
        from = Math.max(to - span, isFine ? minutesFrom : EARLIEST_MINUTE)
        const width = isFine ? 1 : HOUR
        const { traces } = await rollTraces(this.#trx, [from, to], width)
        this.traces += traces
        this.#rolled([from, to], width)
        span = nextSpan(span, traces)
      }
      const dayOf = (minute: number): number => Math.ceil(minute / DAY) * DAY
      this.#newDays.push([dayOf(from), dayOf(rolledFrom)])
      this.state.rolledFrom = from
    }
  }

  /** Merges minutes to hours, hours to days and days to weeks, where all parts are there and something has changed. */
  async merge(): Promise<void> {
    const { hoursUntil, daysUntil, rolledFrom, minutesFrom } = this.state
    const marked = this.left.flatMap(({ ranges }) => ranges)
    const hours = unionOf([...widened(this.#minutes, HOUR), ...this.#newHours])
    const markedHours = unionOf([...widened(marked, HOUR), ...this.#hours])
    const merged = without(
      clipped(hours, Math.max(rolledFrom, this.#before.minutesFrom), hoursUntil),
      markedHours,
    )
    for (const range of merged) await mergeRollups(this.#trx, range, HOUR)
    const days = widened([...this.#hours, ...merged, ...this.#newDays], DAY)
    const markedDays = widened(marked, DAY)
    const wholeDays = clipped(days, Math.ceil(rolledFrom / DAY) * DAY, daysUntil)
    const mergedDays = without(wholeDays, markedDays)
    for (const range of mergedDays) await mergeRollups(this.#trx, range, DAY)
    const [firstWeek, endWeek] = [Math.ceil(rolledFrom / WEEK) * WEEK, Math.floor(daysUntil / WEEK) * WEEK]
    const weeks = clipped(widened(mergedDays, WEEK), firstWeek, endWeek)
    for (const range of without(weeks, widened(marked, WEEK))) await mergeWeeks(this.#trx, range)
    if (minutesFrom > this.#before.minutesFrom) await removeRollups(this.#trx, 1, [0, minutesFrom])
  }

  async saveState(): Promise<void> {
    const { rolledFrom, minutesFrom, hoursUntil, daysUntil } = this.state
    const time = (minute: number): Date => new Date(minute * 60_000)
    await this.#trx
      .updateTable('execution_rollup_state')
      .set({
        rolled_from: time(rolledFrom),
        minutes_from: time(minutesFrom),
        hours_until: time(hoursUntil),
        days_until: time(daysUntil),
      })
      .execute()
  }

  #rolled(range: MinuteRange, width: 1 | 60): void {
    ;(width === 1 ? this.#minutes : this.#hours).push(range)
    this.left = this.left.map(({ dueMs, ranges }) => ({ dueMs, ranges: without(ranges, [range]) }))
  }

  async #lastMinuteBefore(minute: number): Promise<number | undefined> {
    const row = await this.#trx
      .selectFrom('execution_traces')
      .select(minuteText('started_at').as('minute'))
      .where('started_at', '<', new Date(minute * 60_000))
      .orderBy('started_at', 'desc')
      .limit(1)
      .executeTakeFirst()
    return row && Number(row.minute)
  }
}
