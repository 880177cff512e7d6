import { readdirSync } from 'node:fs'
import { addMonths, monthOf, partitionName } from '@stepwell/protocol'
import { type SpawnedProcess, spawnProcess, waitFor } from '@stepwell/testkit'
import { createDatabase } from '@stepwell/testkit/vitest'
import pg from 'pg'
import { expect, test } from 'vitest'
import { ALL_WELL, openFaultBench } from './fault-bench.ts'
import { Load } from './load.ts'

const SEED = 20_261_130
const MIGRATIONS = readdirSync(new URL('../../migrations', import.meta.url))
  .filter((name) => name.endsWith('.ts'))
  .map((name) => name.slice(0, -3))
  .sort()

test('two-migrations-at-once: four workers start on an empty database; each step is done once, and all of them work', async () => {
  const database = await createDatabase({ empty: true })
  await using bench = await openFaultBench({ database: database.url })
  await Promise.all(Array.from({ length: 4 }, () => bench.startWorker({ STEPWELL_MIGRATE: 'on' })))
  await isUpToDate(bench.pool)
  const load = new Load({ redis: bench.server.url, seed: SEED })
  for (let i = 0; i < 200; i++) load.begin()
  expect((await load.stop()).dropped).toEqual({})
  expect(await bench.account(load.runs), `seed ${SEED}`).toEqual(ALL_WELL)
  await database.drop()
})

const WAITS = ['CREATE VIEW', 'ALTER TABLE']

test('migration-killed: -9 amid the tables and amid the partitions; nothing half-made is seen, and the next one ends it', async () => {
  const database = await createDatabase({ empty: true })
  const pool = new pg.Pool({ connectionString: database.url })
  // Who wants to do these things waits for somebody else.
  await pool.query(`create function wait() returns event_trigger language plpgsql as
    $$ begin
         if tg_tag <> 'ALTER TABLE' or exists (select from pg_class where relname like 'execution\\_traces\\_2%' and relkind = 'r')
         then perform pg_advisory_xact_lock_shared(hashtext(tg_tag)); end if;
       end $$;
    create event trigger waiting on ddl_command_start when tag in ('${WAITS.join("', '")}') execute function wait()`)
  const holder = await pool.connect()
  const migrate = (): SpawnedProcess =>
    spawnProcess(new URL('../../apps/worker/src/main.ts', import.meta.url), ['migrate'], {
      DATABASE_URL: database.url,
      REDIS_URL: 'redis://127.0.0.1:1',
    })
  let next = migrate()
  for (const amid of WAITS) await holder.query('select pg_advisory_lock(hashtext($1))', [amid])
  for (const amid of WAITS) {
    const victim = next
    const waits = `select 1 from pg_stat_activity where datname = current_database() and wait_event = 'advisory' and query ilike $1`
    await waitFor(async () => (await pool.query(waits, [`%${amid}%`])).rows.length > 0, {
      what: `it is amid '${amid}'`,
    })
    // The next one comes while the first is at work, and must not wait for the dead.
    next = migrate()
    await victim.kill('SIGKILL')
    expect(await tables(pool)).toEqual(amid === 'CREATE VIEW' ? [] : ['execution_traces'])
    await holder.query('select pg_advisory_unlock(hashtext($1))', [amid])
  }
  holder.release()
  expect(await next.exited, next.stderr()).toEqual({ code: 0, signal: null })
  await isUpToDate(pool)
  await pool.end()
  await database.drop()
})

/** The tables of traces that others see. */
async function tables(pool: pg.Pool): Promise<unknown[]> {
  const { rows } = await pool.query(
    `select relname from pg_class where relname like 'execution_traces%' and relkind in ('r', 'p') order by 1`,
  )
  return rows.map((row) => row.relname)
}

async function isUpToDate(pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query('select name from stepwell_migrations order by 1')
  expect(rows.map((row) => row.name)).toEqual(MIGRATIONS)
  const months = Array.from({ length: 4 }, (_, i) => partitionName(addMonths(monthOf(Date.now()), i)))
  expect(await tables(pool)).toEqual(['execution_traces', ...months])
}
