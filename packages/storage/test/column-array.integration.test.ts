import { createDatabase } from '@stepwell/testkit/vitest'
import pg from 'pg'
import { expect, test } from 'vitest'
import { BoundValues } from '../src/bound-values.ts'
import { bindArray, type ColumnType } from '../src/column-array.ts'

const MS = [
  Date.UTC(2000, 0, 1),
  Date.UTC(2026, 10, 26, 10, 30, 0, 123),
  -1,
  Date.UTC(1653, 0, 1),
  Date.UTC(2350, 11, 31, 23, 59, 59, 999),
]

/** Values as they are written, and what Postgres gives of each as text. */
const COLUMNS: Record<ColumnType, readonly [value: unknown, text: string][]> = {
  uuid: [
    '019ac678-d900-7000-8000-0123456789ab',
    'ffffffff-ffff-4fff-bfff-ffffffffffff',
    '00000000-0000-0000-0000-000000000000',
  ].map((id) => [id, id]),
  timestamptz: MS.map((ms) => [
    ms,
    new Date(ms)
      .toISOString()
      .replace('T', ' ')
      .replace(/\.?0*Z$/, '+00'),
  ]),
  float8: [0, 33.3, -0.001, 1e13, Number.MIN_VALUE, 0.1 + 0.2].map((value) => [value, String(value)]),
  int4: [0, 1, -1, 2 ** 31 - 1].map((value) => [value, String(value)]),
  int8: [0n, -1n, 2n ** 63n - 1n, -(2n ** 63n)].map((value) => [value, String(value)]),
  text: ['', 'build', 'é😀\u2028', 'a "quoted" \\ text', 'x'.repeat(70_000)].map((text) => [text, text]),
  json: ['[]', '[[1,"load é",0.25]]', '{"a": 1}'].map((text) => [text, text]),
  jsonb: [
    ['{}', '{}'],
    ['{"env":"é"}', '{"env": "é"}'],
  ],
}

test('a column that is sent as an array holds what it was made of', async () => {
  const database = await createDatabase()
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  await client.query(`set timezone = 'UTC'; set datestyle = 'ISO'`)
  const read = async (type: string, values: readonly unknown[]): Promise<unknown[]> => {
    const bound = new BoundValues(1)
    bindArray(bound, type as ColumnType, values, (value) => value)
    const sql = `select value::text as text from unnest($1::${type}[]) as t (value)`
    return (await client.query<{ text: string }>(sql, bound.values)).rows.map(({ text }) => text)
  }
  for (const [type, column] of Object.entries(COLUMNS)) {
    const [values, texts] = [column.map(([value]) => value), column.map(([, text]) => text)]
    const number = type === 'float8' ? Number : (text: unknown): unknown => text
    expect((await read(type, values)).map(number), type).toEqual(texts.map(number))
    expect(
      (await read(type, [null, ...values, null])).map((text) => text && number(text)),
      type,
    ).toEqual([null, ...texts.map(number), null])
  }
  expect(await read('text', [])).toEqual([])
  await client.end()
  await database.drop()
})
