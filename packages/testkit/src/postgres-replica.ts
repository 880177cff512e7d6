import { spawnSync } from 'node:child_process'
import { chownSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type PostgresOptions, startOn } from './postgres-server.ts'
import type { PrivateServer } from './service.ts'
import { withPostgres } from './short-connection.ts'
import { waitFor } from './wait-for.ts'

/**
 * Starts a replica that streams from a running Postgres of this machine. Its data is copied under the low-level backup API, for
 * the embedded Postgres comes without pg_basebackup
 * (https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-LOWLEVEL-BASE-BACKUP). The caller stops it.
 */
export function startPostgresReplica(
  primary: PrivateServer,
  options: PostgresOptions = {},
): Promise<PrivateServer> {
  const conninfo = `host=127.0.0.1 port=${primary.port} user=postgres`
  const settings = { primary_conninfo: conninfo, ...options.settings }
  return startOn({ ...options, settings }, async ({ data, user }) => {
    const label = await withPostgres(primary.url, async (client) => {
      const { rows } = await client.query<{ from: string }>(
        "select current_setting('data_directory') as from from pg_backup_start('replica', true)",
      )
      copyFolder(rows[0]?.from as string, data)
      const stopped = await client.query<{ label: string }>(
        'select labelfile as label from pg_backup_stop(false)',
      )
      return stopped.rows[0]?.label as string
    })
    for (const name of ['postmaster.pid', 'postmaster.opts']) rmSync(join(data, name), { force: true })
    for (const [name, text] of [
      ['backup_label', label],
      ['standby.signal', ''],
    ] as const) {
      writeFileSync(join(data, name), text)
      if (user !== undefined) chownSync(join(data, name), user.uid, user.gid)
    }
  })
}

/** With owners and modes, which Postgres insists on. A file that goes while it is copied comes back by the log. */
function copyFolder(from: string, to: string): void {
  const { status, stderr } = spawnSync('cp', ['-a', from, to], { encoding: 'utf8' })
  const complaints = stderr.split('\n').filter((line) => line !== '' && !/No such file/.test(line))
  if (status !== 0 && complaints.length > 0)
    throw new Error(`The data could not be copied: ${complaints.join('\n')}`)
}

/** Resolves when the replica shows all that the primary has committed by now. */
export async function caughtUp(replica: { url: string }, primary: { url: string }): Promise<void> {
  const lsn = await withPostgres(primary.url, async (client) => {
    const { rows } = await client.query('select pg_current_wal_lsn() as lsn')
    return rows[0].lsn as string
  })
  await withPostgres(replica.url, (client) =>
    waitFor(
      async () =>
        (await client.query('select pg_last_wal_replay_lsn() >= $1::pg_lsn as done', [lsn])).rows[0].done,
      { what: 'the replica has caught up' },
    ),
  )
}
