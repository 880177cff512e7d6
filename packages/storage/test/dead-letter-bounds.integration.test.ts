import {
  countDeadLetters,
  type Database,
  type DeadLetter,
  DeadLetterWriter,
  expireDeadLetters,
  forgetNotKept,
  listDeadLetterReasons,
  listDeadLetters,
  listNotKept,
  openDatabase,
} from '@stepwell/storage'
import type { TestDatabase } from '@stepwell/testkit'
import { createDatabase } from '@stepwell/testkit/vitest'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'

let server: TestDatabase
let database: Database

beforeAll(async () => {
  server = await createDatabase()
  database = openDatabase(server.url)
})
beforeEach(() => database.pool.query('truncate execution_dead_letters, execution_dead_letters_not_kept'))
afterAll(async () => {
  await database.close()
  await server.drop()
})

const DAY_MS = 86_400_000
const now = Date.UTC(2026, 10, 24)
const some = (from: number, count: number, reason: string, payload = '["v","9"]'): DeadLetter[] =>
  Array.from({ length: count }, (_, i) => ({
    letterId: `s/${String(from + i).padStart(6, '0')}`,
    stream: 's',
    entryId: `${from + i}-0`,
    reason,
    payload,
  }))

test('beyond the maximum new letters are counted by reason; those that are there stay, and count when they come again', async () => {
  const writer = new DeadLetterWriter(database, { maxLetters: 10, maxBytes: 1_000_000 })
  expect(await writer.write(some(0, 8, 'odd'), now)).toBe(8)
  expect(await writer.write(some(8, 5, 'worse'), now + 1)).toBe(2)
  // Full: new ones are counted, one that is there is delivered once more.
  const again = [...some(3, 1, 'odd'), ...some(20, 4, 'odd'), ...some(30, 1, 'worse')]
  expect(await writer.write(again, now + 2)).toBe(1)
  expect(await countDeadLetters(database)).toEqual({ letters: 10, bytes: 90 })
  const [letter] = await listDeadLetters(database, { letterIds: ['s/000003'] })
  expect(letter).toMatchObject({ deliveries: 2, lastSeenAt: new Date(now + 2) })
  expect(await listDeadLetterReasons(database)).toEqual([
    {
      reason: 'odd',
      letters: 8,
      noRoom: 4,
      tooOld: 0,
      firstSeenAt: new Date(now),
      lastSeenAt: new Date(now + 2),
    },
    {
      reason: 'worse',
      letters: 2,
      noRoom: 4,
      tooOld: 0,
      firstSeenAt: new Date(now + 1),
      lastSeenAt: new Date(now + 2),
    },
  ])
  await forgetNotKept(database, 'odd')
  expect((await listNotKept(database)).map(({ reason }) => reason)).toEqual(['worse'])
  await forgetNotKept(database)
  expect(await listNotKept(database)).toEqual([])
})

test('the size of payloads is bounded too, in bytes as they are stored', async () => {
  const writer = new DeadLetterWriter(database, { maxLetters: 1_000, maxBytes: 100_000 })
  // Two bytes a character.
  const payload = JSON.stringify('ä'.repeat(9_000))
  expect(await writer.write(some(0, 50, 'large', payload), now)).toBe(5)
  // A small one still has room.
  expect(await writer.write(some(60, 1, 'small', '[]'), now)).toBe(1)
  expect((await countDeadLetters(database)).bytes).toBeLessThanOrEqual(100_000)
  expect(await listNotKept(database)).toMatchObject([{ reason: 'large', noRoom: 45 }])
})

test('reasons that follow from what was sent do not fill the table that counts them', async () => {
  const each = Array.from({ length: 250 }, (_, i) => some(i, 1, `v: unknown version '${i}'`)).flat()
  const writer = new DeadLetterWriter(database, { maxLetters: 0, maxBytes: 0 })
  await writer.write(each, now)
  await writer.write(some(300, 2, "v: unknown version '7'"), now)
  const counted = await listNotKept(database)
  expect(counted.length).toBeLessThanOrEqual(101)
  expect(counted.reduce((sum, { noRoom }) => sum + noRoom, 0)).toBe(252)
  expect(counted[0]).toMatchObject({ reason: 'other reasons' })
})

test('writers that meet at a full table count every letter, and none is kept twice', async () => {
  const bounds = { maxLetters: 1_000, maxBytes: 1e9 }
  const writers = Array.from({ length: 8 }, () => new DeadLetterWriter(database, bounds))
  const kept = await Promise.all(
    writers.map((writer, w) => writer.write(some(w * 1_000, 500, `reason ${w % 3}`), now)),
  )
  const [{ letters }, notKept] = [await countDeadLetters(database), await listNotKept(database)]
  expect(kept.reduce((a, b) => a + b)).toBe(letters)
  expect(letters + notKept.reduce((sum, { noRoom }) => sum + noRoom, 0)).toBe(4_000)
  // All may have seen the empty table at once; from then on it is full.
  expect(await new DeadLetterWriter(database, bounds).write(some(90_000, 10, 'late'), now)).toBe(0)
})

test('letters leave by age, and are counted', async () => {
  await new DeadLetterWriter(database).write(some(0, 2_500, 'old'), now - 91 * DAY_MS)
  await new DeadLetterWriter(database).write(some(5_000, 3, 'old'), now - 89 * DAY_MS)
  const age = { beforeMs: now - 90 * DAY_MS, nowMs: now }
  const expired = await Promise.all([expireDeadLetters(database, age), expireDeadLetters(database, age)])
  expect(expired[0] + expired[1]).toBe(2_500)
  expect(await listDeadLetterReasons(database)).toMatchObject([{ reason: 'old', letters: 3, tooOld: 2_500 }])
  expect(await expireDeadLetters(database, age)).toBe(0)
})

test('all letters are gone through by id, while those before are removed', async () => {
  await new DeadLetterWriter(database).write(some(0, 25, 'odd', JSON.stringify('x'.repeat(100))), now)
  const seen: string[] = []
  for (let after = ''; ; ) {
    const page = await listDeadLetters(database, { after, limit: 10, payloadMaxLength: 5 })
    if (page.length === 0) break
    expect(page[0]?.payload).toBe('"xxxx')
    seen.push(...page.map(({ letterId }) => letterId))
    after = seen.at(-1) as string
    await database.pool.query('delete from execution_dead_letters where letter_id <= $1', [after])
  }
  expect(seen).toEqual(some(0, 25, '').map(({ letterId }) => letterId))
})
