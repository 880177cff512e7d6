import { existsSync } from 'node:fs'
import { rename, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { monthOf, partitionName } from '@stepwell/protocol'
import { migrateToLatest } from '@stepwell/storage'
import { startPostgres, waitFor } from '@stepwell/testkit'
import pg from 'pg'
import { expect, test } from 'vitest'
import { ALL_WELL, openFaultBench } from './fault-bench.ts'
import { Load } from './load.ts'

const SEED = 20_261_128

/** What is done to Postgres, statement by statement, and the SQLSTATE that workers then get to hear. */
interface Fault {
  sqlState: string
  harm: string[]
  mend: string[]
}

const CUT = `select pg_terminate_backend(pid) from pg_stat_activity where usename = 'stepwell'`
const RELOAD = 'select pg_reload_conf()'

/** Nothing can be written for longer than a statement may last, or wait. */
const heldUp = (sqlState: string, setting: string): Fault => ({
  sqlState,
  harm: [
    `alter role stepwell set ${setting} = '200ms'`,
    CUT,
    'begin',
    'lock table execution_traces in share mode',
  ],
  mend: ['commit', `alter role stepwell reset ${setting}`, CUT],
})

const FAULTS: Fault[] = [
  {
    sqlState: '25006',
    harm: ['alter system set default_transaction_read_only = on', RELOAD],
    mend: ['alter system reset default_transaction_read_only', RELOAD],
  },
  {
    sqlState: '53300',
    harm: ['alter role stepwell connection limit 0', CUT],
    mend: ['alter role stepwell connection limit -1'],
  },
  {
    sqlState: '28000',
    harm: ['alter role stepwell nologin', CUT],
    mend: ['alter role stepwell login'],
  },
  {
    sqlState: '42501',
    harm: ['revoke insert on execution_traces from stepwell'],
    mend: ['grant insert on execution_traces to stepwell'],
  },
  heldUp('57014', 'statement_timeout'),
  heldUp('55P03', 'lock_timeout'),
]

test('postgres-refuses: read-only, out of connections, no login, no rights, time-outs, out of disk: workers wait, say so, and lose nothing', async () => {
  await using postgres = await startPostgres()
  const admin = new pg.Client(postgres.url)
  // The server stops before this one does.
  admin.on('error', () => {})
  await admin.connect()
  // What is done to the server is not done to the one who does it.
  for (const name of ['statement_timeout', 'lock_timeout', 'default_transaction_read_only'])
    await admin.query(`set ${name} = 0`)
  await admin.query('create role stepwell login')
  await admin.query('alter database postgres owner to stepwell')
  const database = postgres.url.replace('//postgres@', '//stepwell@')
  await migrateToLatest({ connectionString: database })
  await using bench = await openFaultBench({ database })
  const load = new Load({ redis: bench.server.url, seed: SEED, runsPerSecond: 200 }).start()
  const endure = async (
    sqlState: string,
    harm: () => Promise<unknown>,
    mend: () => Promise<unknown>,
  ): Promise<void> => {
    await harm()
    await waitFor(() => bench.workers.some((worker) => worker.stdout().includes(`"code":"${sqlState}"`)), {
      what: `a worker hears ${sqlState}`,
    })
    for (const worker of bench.workers) {
      await waitFor(async () => (await worker.metric('stepwell_database_available')) === 0, {
        what: `each worker has noticed ${sqlState}`,
      })
      expect(await worker.health('/ready')).toBe(503)
      expect(await worker.health('/live')).toBe(200)
    }
    await mend()
    await bench.allSay('/ready', 200)
    const before = await stored(admin)
    await waitFor(async () => (await stored(admin)) > before + 50, {
      what: `runs are stored after ${sqlState}`,
    })
  }

  // The disk is full: /dev/full reads as an empty table, and takes nothing. (Where there is no such device, this cannot be tried.)
  if (existsSync('/dev/full')) {
    const file = await fileOf(admin, partitionName(monthOf(Date.now())))
    await endure(
      '53100',
      async () => {
        await rename(file, `${file}.kept`)
        await symlink('/dev/full', file)
        await Promise.all([bench.startWorker(), bench.startWorker()])
      },
      async () => {
        await rm(file)
        await rename(`${file}.kept`, file)
        // Who has opened the full one goes on writing to it.
        await admin.query(CUT)
      },
    )
  } else await Promise.all([bench.startWorker(), bench.startWorker()])
  for (const { sqlState, harm, mend } of FAULTS) {
    const all = (statements: string[]) => async () => {
      for (const statement of statements) await admin.query(statement)
    }
    await endure(sqlState, all(harm), all(mend))
  }
  const { dropped } = await load.stop()
  expect(dropped).toEqual({})
  expect(await bench.account(load.runs), `seed ${SEED}`).toEqual(ALL_WELL)
  await admin.end()
})

async function stored(admin: pg.Client): Promise<number> {
  return (await admin.query('select count(*)::int n from execution_traces')).rows[0].n
}

/** The file of a table that nobody has used yet. */
async function fileOf(admin: pg.Client, table: string): Promise<string> {
  const { rows } = await admin.query(
    `select current_setting('data_directory') as folder, pg_relation_filepath($1) as file`,
    [table],
  )
  return join(rows[0].folder, rows[0].file)
}
