import { addMonths, monthBounds, monthOf, partitionName } from '@stepwell/protocol'
import {
  checkMigrations,
  countDeadLetters,
  type Database,
  listNotKept,
  listPartitions,
  MONTHS_AHEAD,
} from '@stepwell/storage'
import { durationText } from '../format.ts'
import { type Check, judged } from './check.ts'

const CLOCK_MAX_MS = 1_000
/** That there was no room is news for a day. */
const FULL_FOR_MS = 86_400_000

/** Looks at Postgres and the tables. `redisNowMs`: the clock of Redis, if it is known. Rejects where Postgres does not answer. */
export async function checkPostgres(
  database: Database,
  redisNowMs: (() => Promise<number>) | undefined,
): Promise<Check[]> {
  const { pool } = database
  const before = Date.now()
  const { rows } = await pool.query(
    `select current_setting('server_version') as version, current_setting('server_version_num')::int as number,
            extract(epoch from clock_timestamp()) * 1000 as now, pg_is_in_recovery() as replica`,
  )
  const hereMs = (before + Date.now()) / 2
  const { version, number, now, replica } = rows[0]
  const checks = [
    judged('postgres', 'version', version, number >= 150_000, 'fail', 'use Postgres 15 or newer'),
    judged(
      'postgres',
      'writable',
      replica ? 'a replica' : 'yes',
      !replica,
      'fail',
      'let DATABASE_URL of the workers point to the primary',
    ),
    clockCheck('clock', Number(now) - hereMs, 'this machine'),
  ]
  if (redisNowMs !== undefined) {
    const redisMs = await redisNowMs()
    checks.push(clockCheck('clock of Redis', Number(now) - redisMs - (Date.now() - hereMs), 'Redis'))
  }
  const { missing, unknown } = await checkMigrations(database)
  checks.push(
    unknown.length > 0
      ? judged(
          'postgres',
          'migrations',
          `unknown: ${unknown.join(', ')}`,
          false,
          'fail',
          'this program is older than the tables: upgrade it',
        )
      : judged(
          'postgres',
          'migrations',
          missing.length === 0 ? 'up to date' : `missing: ${missing.join(', ')}`,
          missing.length === 0,
          'fail',
          'run stepwell migrate',
        ),
  )
  if (missing.length > 0) return checks
  const months = new Set((await listPartitions(database)).map((month) => partitionName(month)))
  const wanted = Array.from({ length: MONTHS_AHEAD + 1 }, (_, i) =>
    partitionName(addMonths(monthOf(Date.now()), i)),
  )
  const absent = wanted.filter((name) => !months.has(name))
  checks.push(
    judged(
      'postgres',
      'partitions',
      absent.length === 0
        ? `${months.size}, to ${new Date(monthBounds(addMonths(monthOf(Date.now()), MONTHS_AHEAD)).fromMs).toISOString().slice(0, 7)}`
        : `missing: ${absent.join(', ')}`,
      absent.length === 0,
      'warn',
      'run stepwell migrate, or look why the workers cannot make them',
    ),
    await deadLetterCheck(database),
  )
  return checks
}

async function deadLetterCheck(database: Database): Promise<Check> {
  const { letters } = await countDeadLetters(database)
  const notKept = await listNotKept(database)
  const told = letters.toLocaleString('en-US')
  const noRoom = notKept.reduce((sum, one) => sum + one.noRoom, 0)
  const tooOld = notKept.reduce((sum, one) => sum + one.tooOld, 0)
  const gone = [
    ...(noRoom === 0 ? [] : [`${noRoom.toLocaleString('en-US')} not kept for want of room`]),
    ...(tooOld === 0 ? [] : [`${tooOld.toLocaleString('en-US')} removed by age`]),
  ]
  const found = [told, ...gone].join('; ')
  const isFull = notKept.some((one) => one.noRoom > 0 && one.lastSeenAt.getTime() > Date.now() - FULL_FOR_MS)
  return isFull
    ? judged(
        'postgres',
        'dead letters',
        found,
        false,
        'fail',
        'no room for more: what comes now is only counted. stepwell dead list says why; dead replay, dead drop or a larger STEPWELL_DEAD_LETTERS_MAX make room',
      )
    : judged(
        'postgres',
        'dead letters',
        found,
        letters + gone.length === 0,
        'warn',
        'stepwell dead list says why',
      )
}

function clockCheck(name: string, differenceMs: number, other: string): Check {
  const difference = Math.round(Math.abs(differenceMs))
  return judged(
    'postgres',
    name,
    `${durationText(difference)} from ${other}`,
    difference < CLOCK_MAX_MS,
    'warn',
    'let all machines ask a time server: starts and ends are told by their clocks',
  )
}
