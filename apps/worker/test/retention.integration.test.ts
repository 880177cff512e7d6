import { addMonths, monthOf, partitionName } from '@stepwell/protocol'
import { DeadLetterWriter, ensurePartitions, openDatabase } from '@stepwell/storage'
import { waitFor } from '@stepwell/testkit'
import { expect, test } from 'vitest'
import { makeBench } from './harness.ts'

const DAY_MS = 86_400_000

test('the jobs of a worker drop months and dead letters that are too old, and keep the others', async () => {
  await using bench = await makeBench()
  const database = openDatabase(bench.database.url)
  const month = monthOf(Date.now())
  const ago = [0, 1, 2, 3].map((months) => addMonths(month, -months))
  await ensurePartitions(database, ago)
  const writer = new DeadLetterWriter(database)
  const letter = { stream: 's', entryId: '1-0', reason: 'odd', payload: '[]' }
  await writer.write([{ ...letter, letterId: 'old' }], Date.now() - 8 * DAY_MS)
  await writer.write([{ ...letter, letterId: 'young' }], Date.now() - 6 * DAY_MS)
  await bench.startWorker({ retentionMonths: 2, deadLetterMaxAgeMs: 7 * DAY_MS })
  await waitFor(
    async () => (await bench.rows("select from execution_dead_letters where letter_id = 'old'")).length === 0,
    { what: 'the old letter is gone' },
  )
  expect(await bench.rows('select reason, no_room, too_old from execution_dead_letters_not_kept')).toEqual([
    { reason: 'odd', no_room: '0', too_old: '1' },
  ])
  expect(await bench.rows('select letter_id from execution_dead_letters')).toEqual([{ letter_id: 'young' }])
  const before = async (): Promise<string[]> =>
    (
      await bench.rows<{ name: string }>(
        "select relname as name from pg_class where relname ~ '^execution_traces_\\d{4}_\\d\\d$' and relname < $1 order by 1",
        [partitionName(month)],
      )
    ).map(({ name }) => name)
  await waitFor(async () => (await before()).length === 1, { what: 'the old months are gone' })
  expect(await before()).toEqual([partitionName(addMonths(month, -1))])
  await database.close()
})
