import {
  type MinuteRange,
  type StepWidth,
  searchKeys,
  stepRanges,
  unionOf,
} from '@stepwell/protocol/statistics'
import { type Kysely, type RawBuilder, sql } from 'kysely'
import type { Direction } from './cursor.ts'
import { type Cover, coverOf, type RollupExtent, type Span } from './rollup-cover.ts'
import { partOf, partsTable } from './rollup-parts.ts'
import type { Tables } from './tables.ts'

const DAY = 1_440
const MINUTE_MS = 60_000
const DAY_MS = DAY * MINUTE_MS

/** Runs that started in a span; of a skill, or of all. */
export interface Place extends Span {
  skill: string | undefined
  /** Of a day on which few runs have the step: the hour that it is, in minutes since 1970. It may tell in which minutes. */
  hour?: number
}

/** Which step is looked for. */
export interface StepRequest {
  stepName: string
  /** In runs of this skill; undefined: of any. */
  skill: string | undefined
  /** From which end of a window on. */
  direction: Direction
  /** Places that are enough. */
  count: number
}

/**
 * Where runs that started in a window may have a step of this name: nowhere else there is one. By what rollups of hours and days have noted,
 * where they are what the traces are; where they are not, all runs. Each run is at one place at most. Of many places the first, and the window that they are of.
 * It MUST be asked in the snapshot that `extent` is of.
 */
export async function stepPlaces(
  trx: Kysely<Tables>,
  extent: RollupExtent,
  request: StepRequest,
  window: Span,
): Promise<{ places: Place[]; window: Span }> {
  // Minutes have not noted anything. Days are taken whole: what they say of the window is right too.
  const noted = { ...extent, minutesFrom: Number.MAX_SAFE_INTEGER }
  const days = {
    fromMs: Math.floor(window.fromMs / DAY_MS) * DAY_MS,
    toMs: Math.ceil(window.toMs / DAY_MS) * DAY_MS,
  }
  const all = coverOf(days, noted, DAY)
  const silent = await silentOf(trx, all.rollups)
  const cover =
    silent.length === 0 ? all : coverOf(days, { ...noted, marked: [...noted.marked, ...silent] }, DAY)
  const ofAll = cover.traces.map((span): Place => ({ ...span, skill: undefined }))
  const ofSkills = placesIn(await bucketsWith(trx, cover.rollups, request), request.stepName)
  const first = firstOf([...ofAll, ...ofSkills], window, request)
  return firstOf(await toTheMinute(trx, first.places, request.stepName), first.window, request)
}

/** As many as are enough, in as much of the window. */
function firstOf(
  places: readonly Place[],
  window: Span,
  { direction, count }: StepRequest,
): { places: Place[]; window: Span } {
  const inWindow = clipped(places, window)
  const isOlder = direction === 'older'
  const next = inWindow.sort((a, b) => (isOlder ? b.toMs - a.toMs : a.fromMs - b.fromMs))[count]
  if (next === undefined) return { places: inWindow, window }
  const part = isOlder
    ? { fromMs: next.toMs, toMs: window.toMs }
    : { fromMs: window.fromMs, toMs: next.fromMs }
  // All begin together.
  if (part.fromMs >= part.toMs) return { places: inWindow, window }
  return { places: clipped(inWindow, part), window: part }
}

const clipped = (places: readonly Place[], window: Span): Place[] =>
  places
    .map((place) => ({
      ...place,
      fromMs: Math.max(place.fromMs, window.fromMs),
      toMs: Math.min(place.toMs, window.toMs),
    }))
    .filter(({ fromMs, toMs }) => fromMs < toMs)

/** The hours and days of which nobody has noted what steps there are. Where nothing ran there is nothing to note. */
async function silentOf(trx: Kysely<Tables>, parts: Cover['rollups']): Promise<MinuteRange[]> {
  if (parts.length === 0) return []
  const overviews = trx.selectFrom('execution_rollup_overviews as r').selectAll().where(partOf('r'))
  const { rows } = await sql<{ minute: number; width_s: number }>`
    select ${minuteOf('r.bucket')} as minute, r.width_s
      from ${partsTable(parts)} cross join lateral (${overviews} offset 0) as r where r.has_step_keys is not true`.execute(
    trx,
  )
  return rows.map(({ minute, width_s }) => [Number(minute), Number(minute) + Number(width_s) / 60])
}

/** The hours and days of skills with runs that have a step of this name. */
async function bucketsWith(
  trx: Kysely<Tables>,
  parts: Cover['rollups'],
  { stepName, skill }: StepRequest,
): Promise<NotedBucket[]> {
  const keys = parts.flatMap(({ width, range: [from, to] }) => {
    const first = Math.floor(from / DAY)
    return Array.from({ length: Math.ceil(to / DAY) - first }, (_, i) =>
      searchKeys(stepName, width as StepWidth, first + i),
    ).flat()
  })
  if (keys.length === 0) return []
  const rollups = trx
    .selectFrom('execution_rollups as r')
    .select(NOTED)
    .where(sql<boolean>`r.step_keys && ${keys}::integer[]`)
  const rows = await (skill === undefined ? rollups : rollups.where('r.skill_name', '=', skill)).execute()
  return rows
    .map(bucketOf)
    .filter(({ width, bucket }) =>
      parts.some(({ width: own, range: [from, to] }) => own === width && from <= bucket && bucket < to),
    )
}

/** The places that these buckets tell, those of a skill that lie side by side as one; hours of days on which the step is rare by themselves. */
function placesIn(buckets: readonly NotedBucket[], stepName: string): Place[] {
  const places: Place[] = []
  const bySkill = Map.groupBy(buckets, ({ skill }) => skill)
  for (const [skill, own] of bySkill) {
    const ranges: MinuteRange[] = []
    for (const { keys, width, bucket } of own)
      for (const range of stepRanges(keys, stepName, width, bucket)) {
        const isPartOfDay = width === DAY && range[1] - range[0] < DAY
        if (isPartOfDay) places.push({ ...spanOf(range), skill, hour: range[0] })
        else ranges.push(range)
      }
    for (const range of unionOf(ranges)) places.push({ ...spanOf(range), skill })
  }
  return places
}

/** In place of hours of days the minutes in them, as far as they were noted. */
async function toTheMinute(
  trx: Kysely<Tables>,
  places: readonly Place[],
  stepName: string,
): Promise<Place[]> {
  const hours = places.filter(({ hour }) => hour !== undefined)
  if (hours.length === 0) return [...places]
  const own = trx
    .selectFrom('execution_rollups as r')
    .select(NOTED)
    .whereRef('r.skill_name', '=', sql.ref('hour.skill'))
    .where('r.width_s', '=', 3_600)
    .whereRef('r.bucket', '=', sql.ref('hour.bucket'))
    .where('r.step_keys', 'is not', null)
    .modifyEnd(sql`offset 0`)
  const { rows } = await sql<NotedRow>`
    select noted.* from unnest(${hours.map(({ skill }) => skill)}::text[],
                               ${hours.map(({ hour = 0 }) => new Date(hour * MINUTE_MS))}::timestamptz[]) as hour(skill, bucket)
     cross join lateral (${own}) as noted`.execute(trx)
  const noted = new Map(rows.map(bucketOf).map((one) => [`${one.bucket} ${one.skill}`, one]))
  return places.flatMap((place) => {
    const one = noted.get(`${place.hour} ${place.skill}`)
    if (one === undefined) return place
    const minutes = unionOf(stepRanges(one.keys, stepName, one.width, one.bucket))
    return minutes.flatMap((range) => clipped([{ ...spanOf(range), skill: place.skill }], place))
  })
}

/** What was noted in an hour or on a day of a skill. */
interface NotedBucket {
  skill: string
  width: StepWidth
  /** The minute since 1970 that it begins at. */
  bucket: number
  keys: number[]
}

interface NotedRow {
  skill_name: string
  width_s: number
  minute: number
  keys: string
}

const minuteOf = (column: string): RawBuilder<number> =>
  sql<number>`floor(extract(epoch from ${sql.ref(column)}) / 60)::integer`

const NOTED = [
  'r.skill_name',
  'r.width_s',
  minuteOf('r.bucket').as('minute'),
  // As text: a lent pool may read arrays its own way.
  sql<string>`array_to_string(r.step_keys, ',')`.as('keys'),
] as const

const bucketOf = ({ skill_name, width_s, minute, keys }: NotedRow): NotedBucket => ({
  skill: skill_name,
  width: (Number(width_s) / 60) as StepWidth,
  bucket: Number(minute),
  keys: keys.split(',').map(Number),
})

const spanOf = ([from, to]: MinuteRange): Span => ({ fromMs: from * MINUTE_MS, toMs: to * MINUTE_MS })
