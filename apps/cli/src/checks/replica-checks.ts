import type { Database } from '@stepwell/storage'
import { durationText, sizeText } from '../format.ts'
import { type Check, judged } from './check.ts'

const LAG_MAX_MS = 30_000
/** A segment of the log. */
const LAG_MAX_BYTES = 16 * 2 ** 20

/** Looks at the replica that reading commands ask. Rejects where one of the two does not answer. */
export async function checkReplica(replica: Database, primary: Database): Promise<Check[]> {
  // The primary first: what it writes meanwhile must not count as lag.
  const { rows: written } = await primary.pool.query(
    'select system_identifier as system, pg_is_in_recovery() as is_replica, case when not pg_is_in_recovery() then pg_current_wal_lsn() end as lsn from pg_control_system()',
  )
  const { rows: seen } = await replica.pool.query(
    `select system_identifier as system, pg_is_in_recovery() as is_replica, pg_is_in_recovery() and pg_is_wal_replay_paused() as paused,
            greatest(0, pg_wal_lsn_diff($1::pg_lsn, pg_last_wal_replay_lsn())) as bytes,
            extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000 as ms
       from pg_control_system()`,
    [written[0].lsn],
  )
  const { system, is_replica: isReplica, paused, bytes, ms } = seen[0]
  const found = !isReplica ? 'no replica' : system === written[0].system ? 'yes' : 'of another Postgres'
  const checks = [
    judged(
      'postgres',
      'replica',
      found,
      found === 'yes',
      'fail',
      'let DATABASE_REPLICA_URL point to a replica of what DATABASE_URL points to',
    ),
  ]
  if (found !== 'yes' || bytes === null) return checks
  const lagBytes = Number(bytes)
  // The time of the last commit tells nothing while there is nothing to replay.
  const lagMs = lagBytes === 0 ? 0 : Number(ms)
  checks.push(
    judged(
      'postgres',
      'replica lag',
      `${durationText(Math.max(0, Math.round(lagMs)))}, ${sizeText(lagBytes)}${paused ? ', replay is paused' : ''}`,
      !paused && lagMs < LAG_MAX_MS && lagBytes < LAG_MAX_BYTES,
      'warn',
      'reading commands show what was so before: look whether the replica still receives (pg_stat_replication of the primary), and what holds its replay up',
    ),
  )
  return checks
}
