import { spawnProcess, waitFor } from '@stepwell/testkit'
import { Redis } from 'ioredis'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { FrameProducer, wholeDelta } from '../apps/worker/test/frame-producer.ts'
import { type CliBench, type Document, makeCliBench } from './cli-bench.ts'

const UNKNOWN = "v: unknown frame version '9': this worker reads 1"
let bench: CliBench
let redis: Redis
let pool: pg.Pool

beforeAll(async () => {
  bench = await makeCliBench()
  redis = new Redis(bench.redisUrl)
  pool = new pg.Pool({ connectionString: bench.database.url })
})
beforeEach(() => pool.query('truncate execution_dead_letters, execution_traces'))
afterAll(async () => {
  redis.disconnect()
  await pool.end()
  await bench[Symbol.asyncDispose]()
})

/** Sends a frame of a version to come. */
async function sendLater(producer: FrameProducer, ...deltas: unknown[]): Promise<void> {
  const fields = producer.encode(deltas)
  fields[fields.indexOf('v') + 1] = '9'
  await producer.sendFields(fields)
}

/** The upgrade has come: as if the version had been 1 from the beginning. */
const upgrade = (): Promise<unknown> =>
  pool.query(`update execution_dead_letters set payload = replace(payload, '"v","9"', '"v","1"')`)

/** Ids of the letters, when there are so many. */
const letters = async (count: number): Promise<string[]> =>
  waitFor(
    async () => {
      const { rows } = await pool.query('select letter_id from execution_dead_letters')
      return rows.length === count && rows.map((row) => row.letter_id)
    },
    { what: `${count} dead letters` },
  )

test('a frame of an unknown version is a dead letter; replayed when it is known, its trace is stored', async () => {
  const producer = new FrameProducer(redis)
  const delta = wholeDelta('from the future', 3)
  await sendLater(producer, delta)
  const [letter] = await letters(1)
  // Still unknown: it stays.
  expect(await bench.stepwell(['dead', 'replay'])).toMatchObject({
    code: 3,
    stdout: 'replayed 0 letters; 1 stay\n',
  })
  const shown = await bench.json('dead', 'show', letter as string)
  expect(shown).toMatchObject({ letter_id: letter, reason: UNKNOWN, deliveries: 1 })
  expect(JSON.parse(shown.payload).slice(0, 2)).toEqual(['v', '9'])
  await upgrade()
  expect(await bench.stepwell(['dead', 'replay', '--dry-run'])).toMatchObject({
    code: 0,
    stdout: 'would replay 1 letter\n',
  })
  expect(await bench.stepwell(['dead', 'replay', letter as string, 'not-there'])).toMatchObject({
    code: 3,
    stdout: 'replayed 1 letter\n',
    stderr: '1 letter of those named is not there\n',
  })
  await waitFor(
    async () =>
      (await pool.query('select from execution_traces where trace_id = $1', [delta.t])).rowCount === 1,
    { what: 'the trace is stored' },
  )
  await letters(0)
})

test('letters are told by reason, with the first and the last time, then one by one with a preview; reasons can be dropped', async () => {
  const producer = new FrameProducer(redis)
  const metadata = { m: { long: 'x'.repeat(5_000) }, r: 1 }
  for (let i = 0; i < 3; i++) await sendLater(producer, { ...wholeDelta('later', 1), ...metadata })
  await producer.send({ ...wholeDelta('bad', 1), n: 'no numbers' }, { ...wholeDelta('bad', 1), n: [1] })
  await letters(5)
  await pool.query(`update execution_dead_letters set first_seen_at = first_seen_at - interval '3 days'
    where letter_id = (select min(letter_id) from execution_dead_letters)`)
  await pool.query(
    `insert into execution_dead_letters_not_kept values ($1, 1200, 34, '2026-01-01', now()), ('gone', 5, 0, now(), now())`,
    [UNKNOWN],
  )
  const { reasons, dead_letters } = await bench.json('dead', 'list')
  expect(reasons[0]).toEqual({
    reason: UNKNOWN,
    letters: 3,
    not_kept: { no_room: 1200, too_old: 34 },
    first_seen_at: '2026-01-01T00:00:00.000Z',
    last_seen_at: expect.stringMatching(/Z$/),
  })
  expect(reasons.map((one: Document) => one.letters)).toEqual([3, 0, 1, 1])
  const ms = (time: string): number => Date.parse(time)
  expect(ms(reasons[2].first_seen_at)).toBeLessThanOrEqual(ms(reasons[2].last_seen_at))
  // What was not kept tells only of others than those that are here.
  expect(dead_letters).toHaveLength(5)
  expect(dead_letters.at(-1).payload).toHaveLength(200)

  const { stdout, stderr } = await bench.stepwell(['dead', 'list', '--limit', '2'])
  expect(stdout).toMatch(
    /^LETTERS +NOT KEPT +FIRST +LAST +REASON\n +3 +1,234 +\S+ +\d+[sm] ago +v: unknown frame version '9'.*\n +0 +5 [\s\S]*\n\nLETTER +CAME +TIMES +REASON +PAYLOAD\nstepwell:\{0\}:events\/\S+ +\d+[sm] ago +1 /,
  )
  expect(stderr).toBe('and 2 more reasons\nthe newest 2 of 5 letters: --limit shows more\n')

  // Nothing is dropped that was not meant.
  expect(await bench.stepwell(['dead', 'drop'])).toMatchObject({ code: 2 })
  expect(await bench.stepwell(['dead', 'drop', '--reason', UNKNOWN, '--dry-run'])).toMatchObject({
    stdout: 'would drop 3 letters, and would forget 1,234 that were not kept\n',
  })
  await letters(5)
  expect(await bench.stepwell(['dead', 'drop', '--reason', UNKNOWN])).toMatchObject({
    code: 0,
    stdout: 'dropped 3 letters, and forgot 1,234 that were not kept\n',
  })
  const left = await bench.json('dead', 'list', '--reason', reasons[2].reason)
  expect(left).toMatchObject({ reasons: [reasons[2]], dead_letters: [{ reason: reasons[2].reason }] })
  expect(await bench.stepwell(['dead', 'drop', '--all'])).toMatchObject({
    stdout: 'dropped 2 letters, and forgot 5 that were not kept\n',
  })
  expect(await bench.json('dead', 'list')).toEqual({ reasons: [], dead_letters: [], truncated: false })
})

test('a replay that is killed between sending and removing, then replayed twice at once: each trace is stored once, and whole', async () => {
  const producer = new FrameProducer(redis)
  const ids: string[] = []
  for (let i = 0; i < 30; i++) {
    const whole = wholeDelta('replayed', 2)
    ids.push(whole.t)
    if (i % 2 === 0) await sendLater(producer, whole)
    else {
      // In two frames, the end first.
      const { t, s = [], e, ...beginning } = whole
      await sendLater(producer, { t, k: whole.k, s: s.slice(1), e, n: [2, 2] })
      await sendLater(producer, { ...beginning, t, s: s.slice(0, 1), n: [1, 1] })
    }
  }
  // Refused alone, for the count of its steps; mended below.
  const refused = { ...wholeDelta('replayed', 2), n: 'two' }
  ids.push(refused.t)
  await producer.send(refused)
  await letters(46)
  await upgrade()
  await pool.query(
    `update execution_dead_letters set payload = replace(payload, '"n":"two"', '"n":[2,2]') where reason like 'n:%'`,
  )

  const added = async (): Promise<number> => {
    const info = (await redis.xinfo('STREAM', 'stepwell:{0}:events')) as unknown[]
    return Number(info[info.indexOf('entries-added') + 1])
  }
  const before = await added()
  // Readers pass, removals wait.
  const lock = new pg.Client({ connectionString: bench.database.url })
  await lock.connect()
  await lock.query('begin; lock table execution_dead_letters in share mode')
  const env = { REDIS_URL: bench.redisUrl, DATABASE_URL: bench.database.url }
  const killed = spawnProcess(new URL('../apps/cli/src/main.ts', import.meta.url), ['dead', 'replay'], env)
  const removal = await waitFor(
    async () =>
      (
        await pool.query<{ pid: number }>(
          `select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like 'delete from "execution_dead_letters"%'`,
        )
      ).rows[0],
    { what: 'letters are sent, and their removal waits' },
  )
  expect((await killed.kill('SIGKILL')).signal).toBe('SIGKILL')
  await pool.query('select pg_terminate_backend($1)', [removal.pid])
  const sent = (await added()) - before
  expect(sent).toBeGreaterThan(10)
  await lock.end()
  expect((await pool.query('select from execution_dead_letters')).rowCount).toBe(46)

  const ends = await Promise.all([bench.stepwell(['dead', 'replay']), bench.stepwell(['dead', 'replay'])])
  expect(ends.map(({ code, stderr }) => ({ code, stderr }))).toEqual([
    { code: 0, stderr: '' },
    { code: 0, stderr: '' },
  ])
  expect((await added()) - before).toBeGreaterThanOrEqual(46 + sent)
  const whole = async (): Promise<string[]> =>
    (
      await pool.query(
        `select trace_id from execution_traces where skill_name = 'replayed' and status = 'success' and step_count = 2 and missing_steps = 0`,
      )
    ).rows.map((row) => row.trace_id)
  await waitFor(async () => (await whole()).length === ids.length, { what: 'all are stored whole' })
  expect((await whole()).sort()).toEqual(ids.sort())
  expect((await pool.query('select from execution_traces')).rowCount).toBe(ids.length)
  expect((await pool.query('select from execution_dead_letters')).rowCount).toBe(0)
})
