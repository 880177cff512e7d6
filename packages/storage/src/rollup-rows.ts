import type { StepTuple, TraceStatus } from '@stepwell/protocol'
import { ByteReader, type MinuteRange, Rollup } from '@stepwell/protocol/statistics'
import { type RawBuilder, sql, type Transaction } from 'kysely'
import type { RollupsTable, Tables } from './tables.ts'

/** Minutes that a rollup is of: a minute, an hour or a day. */
export type Width = 1 | 60 | 1_440

const MINUTE_MS = 60_000
/** Rows of traces that memory holds at once, with their steps. */
const BATCH = 1_000
/** Rollups that one statement writes: 11 parameters each. */
const WRITE_MAX = 200

const timeOf = (minute: number): Date => new Date(minute * MINUTE_MS)

/**
 * Rolls up the traces that started in these minutes anew, in place of what is there of them; `range` is made of whole widths. Goes hour
 * by hour and stops after the first that ends after `untilMs`. Gives the minute it came to, and how many traces it read. Idempotent.
 */
export async function rollTraces(
  trx: Transaction<Tables>,
  [from, to]: MinuteRange,
  width: Width,
  untilMs = Number.POSITIVE_INFINITY,
): Promise<{ at: number; traces: number }> {
  let [at, traces] = [from, 0]
  while (at < to) {
    const first = await firstMinute(trx, at, to)
    const begin = first === undefined ? to : Math.floor(first / width) * width
    const end = Math.min(to, begin + 60)
    await removeRollups(trx, width, [at, end])
    if (begin < end) traces += await rollHour(trx, [begin, end], width)
    at = end
    if (Date.now() > untilMs) break
  }
  return { at, traces }
}

async function firstMinute(trx: Transaction<Tables>, from: number, to: number): Promise<number | undefined> {
  const row = await trx
    .selectFrom('execution_traces')
    .select(minuteColumn(sql.ref('started_at')).as('minute'))
    .where('started_at', '>=', timeOf(from))
    .where('started_at', '<', timeOf(to))
    .orderBy('started_at')
    .limit(1)
    .executeTakeFirst()
  return row && Number(row.minute)
}

const minuteColumn = (time: RawBuilder<unknown>): RawBuilder<number> =>
  sql<number>`floor(extract(epoch from ${time}) / 60)::integer`

async function rollHour(trx: Transaction<Tables>, [from, to]: MinuteRange, width: Width): Promise<number> {
  const select = trx
    .selectFrom('execution_traces')
    .select(['skill_name', 'status', 'total_duration_ms', 'steps'])
    .select(minuteColumn(sql.ref('started_at')).as('minute'))
    .where('started_at', '>=', timeOf(from))
    .where('started_at', '<', timeOf(to))
    .orderBy('started_at')
  const writer = new RollupWriter(trx, width)
  let traces = 0
  let bucket = from
  let bySkill = new Map<string, Rollup>()
  for await (const row of rowsOf<{
    skill_name: string
    status: TraceStatus
    total_duration_ms: number | null
    steps: unknown
    minute: number
  }>(trx, select.compile())) {
    const own = Math.floor(Number(row.minute) / width) * width
    if (own !== bucket) {
      await writer.put(bucket, bySkill)
      bucket = own
      bySkill = new Map()
    }
    const rollup = bySkill.get(row.skill_name) ?? new Rollup()
    bySkill.set(row.skill_name, rollup)
    rollup.add({
      status: row.status,
      durationMs: row.total_duration_ms === null ? null : Number(row.total_duration_ms),
      steps: (typeof row.steps === 'string' ? JSON.parse(row.steps) : row.steps) as StepTuple[],
    })
    traces += 1
  }
  await writer.put(bucket, bySkill)
  await writer.flush()
  return traces
}

/** Merges the rollups of minutes to those of hours, or those of hours to days, in place of what is there; `range` is made of whole ones. */
export async function mergeRollups(
  trx: Transaction<Tables>,
  [from, to]: MinuteRange,
  width: 60 | 1_440,
): Promise<void> {
  const part: Width = width === 60 ? 1 : 60
  await removeRollups(trx, width, [from, to])
  const into = sql<number>`floor(extract(epoch from bucket) / ${sql.lit(width * 60)})::integer`
  const select = trx
    .selectFrom('execution_rollups')
    .selectAll()
    .select(into.as('into'))
    .where('width_s', '=', part * 60)
    .where('bucket', '>=', timeOf(from))
    .where('bucket', '<', timeOf(to))
    // Skill by skill, so that memory holds one.
    .orderBy('into')
    .orderBy('skill_name')
  const writer = new RollupWriter(trx, width)
  let current: { bucket: number; skill: string; rollup: Rollup } | undefined
  const put = async (): Promise<void> => {
    if (current !== undefined) await writer.put(current.bucket, new Map([[current.skill, current.rollup]]))
  }
  for await (const row of rowsOf<StoredRollup & { into: number }>(trx, select.compile())) {
    const bucket = Number(row.into) * width
    if (current?.bucket !== bucket || current.skill !== row.skill_name) {
      await put()
      current = { bucket, skill: row.skill_name, rollup: new Rollup() }
    }
    addStored(current.rollup, row)
  }
  await put()
  await writer.flush()
}

/** Removes the rollups of this width that lie in the range. */
export async function removeRollups(
  trx: Transaction<Tables>,
  width: Width,
  [from, to]: MinuteRange,
): Promise<void> {
  await trx
    .deleteFrom('execution_rollups')
    .where('width_s', '=', width * 60)
    .where('bucket', '>=', timeOf(from))
    .where('bucket', '<', timeOf(to))
    .execute()
}

type StoredRollup = Pick<
  RollupsTable,
  'skill_name' | 'duration_sum_ms' | 'duration_max_ms' | 'durations' | 'steps'
> &
  Record<TraceStatus, string>

function addStored(rollup: Rollup, row: StoredRollup): void {
  for (const status of ['running', 'success', 'failed', 'timeout'] as const)
    rollup.counts[status] += Number(row[status])
  const { durations } = rollup
  durations.sumUs += Math.round(Number(row.duration_sum_ms) * 1_000)
  durations.maxUs = Math.max(durations.maxUs, Math.round(Number(row.duration_max_ms) * 1_000))
  durations.sketch.addEncoded(new ByteReader(row.durations))
  rollup.addEncodedSteps(row.steps)
}

/** Gathers rollups and writes many at a time. */
class RollupWriter {
  readonly #trx: Transaction<Tables>
  readonly #width: Width
  #rows: unknown[] = []

  constructor(trx: Transaction<Tables>, width: Width) {
    this.#trx = trx
    this.#width = width
  }

  async put(bucket: number, bySkill: ReadonlyMap<string, Rollup>): Promise<void> {
    for (const [skill, rollup] of bySkill) {
      const { counts, durations } = rollup
      this.#rows.push({
        skill_name: skill,
        width_s: this.#width * 60,
        bucket: timeOf(bucket),
        ...counts,
        duration_sum_ms: durations.sumUs / 1_000,
        duration_max_ms: durations.maxUs / 1_000,
        durations: Buffer.from(rollup.encodeDurations()),
        steps: Buffer.from(rollup.encodeSteps()),
      })
      if (this.#rows.length >= WRITE_MAX) await this.flush()
    }
  }

  async flush(): Promise<void> {
    const rows = this.#rows
    if (rows.length === 0) return
    this.#rows = []
    await this.#trx
      .insertInto('execution_rollups')
      .values(rows as never)
      .execute()
  }
}

/** Rows of a query, by a cursor: memory holds a batch. */
async function* rowsOf<Row>(
  trx: Transaction<Tables>,
  query: { sql: string; parameters: readonly unknown[] },
): AsyncGenerator<Row, void> {
  await trx.executeQuery({ ...query, sql: `declare rows no scroll cursor for ${query.sql}` } as never)
  for (;;) {
    const { rows } = await sql<Row>`fetch ${sql.lit(BATCH)} from rows`.execute(trx)
    yield* rows
    if (rows.length < BATCH) break
  }
  await sql`close rows`.execute(trx)
}
